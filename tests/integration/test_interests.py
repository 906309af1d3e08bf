"""Interests over a real Kafka and a real Redis: each user's copy is what the user's own actions make it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.embedding import Delta
from stream_reco.events import Action, Event, key_of
from stream_reco.interests import InterestSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import weights_of
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.signals.settings import DAY_MS, HOUR_MS
from stream_reco.simulate.late_clicks import late_clicks
from stream_reco.sync import Publication
from stream_reco.sync.redis.channel import RedisChannel
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.references import histories, until_equal
from tests.integration.workers import Worker
from tests.redis_server import RedisServer
from topologies.messages.user_deletion import Deletion, encode_deletion

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(240)]

Start = Callable[[], Worker]


def a_log(seed: int = 0) -> list[Event]:
    """Half of all events twice, as at-least-once senders would."""
    events = [event for event, _ in late_clicks(4, seed, requests_per_day=400, users=30, items=30)]
    rng = np.random.default_rng(seed)
    return [event for event in events for _ in range(1 + int(rng.random() < 0.5))]


@pytest.fixture
def start(start_worker: StartWorker, kafka_settings: KafkaSettings, redis: RedisServer, tmp_path: Path) -> Start:
    def begin() -> Worker:
        settings = {"REDIS_URL": redis.url, "REDIS_PREFIX": kafka_settings.prefix}
        return start_worker("interests", kafka_settings, tmp_path / "a", settings)

    return begin


@pytest.fixture
def redis(start_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_redis()


def users_of(redis: RedisServer, kafka: KafkaSettings) -> RedisUsers:
    return RedisUsers(RedisLink(redis.url), kafka.prefix)


def publish_items(redis: RedisServer, kafka: KafkaSettings, log: Sequence[Event]) -> None:
    """A version in which every item has a vector."""
    keys = np.unique([key_of(event.item_id, "item") for event in log if isinstance(event, Action)])
    model = ModelSettings().build()
    dim = next(table.dim for table in model.tables if table.name == "item")
    vectors = np.random.default_rng(0).standard_normal((len(keys), dim)).astype(np.float32)
    item = Delta("item", dim, keys, vectors, np.empty(0, dtype=np.int64))
    weights = weights_of(model.network)
    RedisChannel(RedisLink(redis.url), kafka.prefix).send(
        Publication(model.name, 1, 1, 0, (item,), weights, {}, {}, watermark=0, created=0)
    )


def test_copies_are_what_the_actions_make_them(kafka_settings: KafkaSettings, start: Start, redis: RedisServer) -> None:
    async def story() -> None:
        log, users = a_log(1), users_of(redis, kafka_settings)
        publish_items(redis, kafka_settings, log)
        worker = start()
        worker.wait_until_at_work()
        parts = np.array_split(np.arange(len(log)), 4)
        for number, portion in enumerate(parts):
            await kafka_log.write(kafka_settings, [kafka_log.message(log[at]) for at in portion])
            if number == 1:
                worker.kill()
                worker = start()
        wanted = histories(log)
        await until_equal(users, wanted)
        for user, history in wanted.items():
            data = users.get(user).state
            assert data is not None
            state = UserState.from_bytes(data)
            assert set(state.medoids.keys.tolist()) <= {key for _, key in history}
            weights = [np.exp(-InterestSettings().decay_per_ms * (state.at - when)) for when, _ in history]
            assert state.medoids.importance.sum() == pytest.approx(sum(weights), rel=1e-6)
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_redis_may_be_emptied_and_may_be_away(kafka_settings: KafkaSettings, start: Start, redis: RedisServer) -> None:
    async def story() -> None:
        log, users = a_log(2), users_of(redis, kafka_settings)
        half = len(log) // 2
        worker = start()
        worker.wait_until_at_work()
        await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in log[:half]])
        await until_equal(users, histories(log[:half]))
        redis.do("FLUSHALL")
        await until_equal(users, histories(log[:half]))
        redis.kill()
        await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in log[half:]])
        await asyncio.sleep(3)
        assert worker.process.poll() is None, worker.said()
        redis.start()
        await until_equal(users, histories(log))
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_a_redis_that_is_restored_is_brought_up_to_date(
    kafka_settings: KafkaSettings, start: Start, redis: RedisServer
) -> None:
    """Copies that were written since come back, and who was deleted since does not."""
    log = a_log(3)
    half = len(log) // 2
    gone = next(event.user_id for event in log[:half] if isinstance(event, Action))
    left = [event for event in log if getattr(event, "user_id", None) != gone]

    async def story() -> None:
        users = users_of(redis, kafka_settings)
        worker = start()
        worker.wait_until_at_work()
        await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in log[:half]])
        await until_equal(users, histories(log[:half]))
        redis.do("SAVE")
        rest = [event for event in left[: len(left)] if event in log[half:]]
        deletion = encode_deletion(Deletion(user_id=gone, timestamp=1))
        await kafka_log.write(kafka_settings, [(str(gone).encode(), deletion)])
        await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in rest])
        await until_equal(users, histories(left))
        await until_gone(users, gone, worker)
        redis.kill()
        redis.start()
        assert users.get(gone).state is not None, "it is older"
        began = time.monotonic()
        await until_equal(users, histories(left))
        await until_gone(users, gone, worker)
        assert time.monotonic() - began < 15
        older = 'stream_reco_user_copies_lost_total{found="older"}'
        assert worker.metric(older) == kafka_settings.partitions
        assert "a snapshot was restored" in worker.said()
        # The same where nobody was there to see it.
        worker.kill()
        redis.kill()
        redis.start()
        worker = start()
        await until_equal(users, histories(left))
        await until_gone(users, gone, worker)
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


async def until_gone(users: RedisUsers, user: int | str, worker: Worker) -> None:
    deadline = time.monotonic() + 30
    while users.get(user).state is not None:
        assert time.monotonic() < deadline, worker.said()
        await asyncio.sleep(0.1)


def test_users_who_are_idle_leave(kafka_settings: KafkaSettings, start: Start, redis: RedisServer) -> None:
    idle = Action(user_id="idle", item_id=1, action="click", timestamp=1_700_000_000_000, event_id="first")
    later = Action(
        user_id="busy", item_id=1, action="click", timestamp=idle.timestamp + 100 * DAY_MS, event_id="second"
    )

    async def story() -> None:
        users = users_of(redis, kafka_settings)
        worker = start()
        worker.wait_until_at_work()
        # Idle days are those of events: a user who comes every hour makes them pass.
        steady = [
            Action(user_id="steady", item_id=1, action="click", timestamp=idle.timestamp + hour * HOUR_MS)
            for hour in range(1, 100 * 24)
        ]
        for events in ([idle], [*steady, later]):
            await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in events], partition=0)
            await until_equal(users, histories(events[-1:]))
        # Whoever has left is not written again.
        redis.do("FLUSHALL")
        await until_equal(users, histories([later]))
        await asyncio.sleep(2)
        assert users.get("idle").state is None
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_a_deleted_user_is_gone_from_redis_and_from_what_is_written_again(
    kafka_settings: KafkaSettings, start: Start, redis: RedisServer
) -> None:
    kept, gone = (
        Action(user_id=user, item_id=1, action="click", timestamp=1_700_000_000_000, event_id=user)
        for user in ("kept", "gone")
    )

    async def story() -> None:
        users = users_of(redis, kafka_settings)
        worker = start()
        worker.wait_until_at_work()
        await kafka_log.write(kafka_settings, [kafka_log.message(event) for event in (kept, gone)])
        await until_equal(users, histories([kept, gone]))
        deletion = encode_deletion(Deletion(user_id="gone", timestamp=gone.timestamp))
        await kafka_log.write(kafka_settings, [(b"gone", deletion)])
        await until_gone(users, "gone", worker)
        redis.do("FLUSHALL")
        await until_equal(users, histories([kept]))
        await asyncio.sleep(2)
        assert users.get("gone").state is None
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_without_redis_it_says_what_is_missing(
    start_worker: StartWorker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    worker = start_worker("interests", kafka_settings, tmp_path)
    assert worker.process.wait(60) == 1
    assert "STREAM_RECO_REDIS_URL" in worker.said()
