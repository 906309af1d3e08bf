"""Training over a real Kafka and a real Redis: one leads at a time, and each example is learned from exactly once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from aiokafka import AIOKafkaProducer

from stream_reco.clock import SystemClock
from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Action, Event, encode
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.redis.connection import RedisLink
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync import Publication
from stream_reco.sync.redis.channel import RedisChannel
from tests.embedded.journal.recovery_world import AS_VARIABLES, SETTINGS
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.learned import learned, newest, restored
from tests.integration.workers import Worker
from tests.kafka_server import KafkaServer
from tests.learner.two_streams import Labelling, learner_of, shown_and_clicked
from tests.redis_server import RedisServer
from tests.waiting import until
from topologies.client.configuration import producer_arguments
from topologies.client.connection import administration
from topologies.messages.user_deletion import Deletion, encode_deletion
from topologies.topics.validation import create_absent
from topologies.trainer.checkpoints import Checkpoints, LoadedCheckpoint
from topologies.trainer.merge_by_time import Merge

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(300)]

SMALL = replace(SETTINGS, labels=replace(SETTINGS.labels, window_days=0.001))
GIVEN = AS_VARIABLES | {
    "LABELS_WINDOW_DAYS": "0.001",
    "LABELS_NEGATIVE_RATE": "0.7",
    "TRAINING_CHECKPOINT_EVENTS": "300",
    "TRAINING_CHECKPOINT_SECONDS": "1",
}
"""`SMALL`, as environment variables."""
Start = Callable[..., Worker]


@pytest.fixture
def one_partition(kafka_settings: KafkaSettings) -> KafkaSettings:
    """With one partition of each topic the order of all that is learned from is fixed."""
    return replace(kafka_settings, partitions=1)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


@pytest.fixture
def start(start_worker: StartWorker, one_partition: KafkaSettings, tmp_path: Path, redis_server: RedisServer) -> Start:
    """Starts trainers that may lead in turn."""
    numbers = count()

    def begin(kafka: KafkaSettings = one_partition, redis: RedisServer = redis_server) -> Worker:
        given = GIVEN | {
            "REDIS_URL": redis.url,
            "REDIS_PREFIX": kafka.prefix,
            "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        }
        folder = tmp_path / f"trainer-{next(numbers)}"
        return start_worker("training", kafka, folder, given, ("--sync-interval", "0.5"))

    return begin


async def write(kafka: KafkaSettings, log: Sequence[Event], examples: Sequence[Example]) -> None:
    """Events as they come, examples in transactions as labelling writes them."""
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log])
    await write_values(kafka, [msgspec.json.encode(example) for example in examples])


async def write_values(kafka: KafkaSettings, values: Sequence[bytes]) -> None:
    producer = AIOKafkaProducer(**producer_arguments(kafka, "labelling.0"), linger_ms=5)
    await producer.start()
    try:
        for first in range(0, len(values), 500):
            async with producer.transaction():
                for value in values[first : first + 500]:
                    await producer.send(f"{kafka.prefix}.examples", value, b"user")
    finally:
        await producer.stop()


async def all_learned(
    checkpoints: Checkpoints, kafka: KafkaSettings, examples: int, seconds: float = 90.0
) -> LoadedCheckpoint:
    """The first checkpoint in which all examples are contained."""
    deadline = time.monotonic() + seconds
    while True:
        found = newest(checkpoints)
        read = found.offsets.get(f"{kafka.prefix}.examples", {}).get(0, 0) if found else 0
        if found is not None and read >= examples:
            return found
        assert time.monotonic() < deadline, f"{read} of {examples} examples were learned from"
        await asyncio.sleep(0.3)


def undisturbed(log: Sequence[Event], examples: Sequence[Example]) -> DistributedLearner:
    """What is learned from both topics in the order of their times, without Kafka."""
    torch.set_num_threads(1)
    merge = Merge[int, Event | Example]([0, 1])
    for example in examples:
        merge.put(0, example.label_time, example)
    for event in log:
        merge.put(1, event.timestamp, event)
    learner = learner_of(SMALL)
    for _, one in merge.take(len(log) + len(examples), lambda _: True):
        if isinstance(one, Example):
            learner.take_example(one)
        else:
            learner.take_event(one)
    return learner


def assert_equal(found: DistributedLearner, wanted: DistributedLearner) -> None:
    """To the bit, as far as it was trained."""
    assert found.queue.examples == wanted.queue.examples
    assert found.queue.steps == wanted.queue.steps > 0
    assert found.queue.waiting == wanted.queue.waiting
    for name, table in wanted.queue.trainer.tables.items():
        keys = np.sort(table.keys())
        other = found.queue.trainer.tables[name]
        assert np.array_equal(np.sort(other.keys()), keys), name
        assert other.lookup(keys).tobytes() == table.lookup(keys).tobytes(), name
    for name, part in wanted.queue.trainer.state().items():
        assert part.tobytes() == found.queue.trainer.state()[name].tobytes(), name


def following(redis: RedisServer, kafka: KafkaSettings) -> tuple[ServingState, RedisChannel]:
    channel = RedisChannel(RedisLink(redis.url), kafka.prefix)
    return ServingState(SMALL.model, SMALL.signals), channel


async def served(
    replica: ServingState, channel: RedisChannel, is_reached: Callable[[], bool], seconds: float = 30.0
) -> None:
    deadline = time.monotonic() + seconds
    while not is_reached():
        replica.replica.poll(channel)
        assert time.monotonic() < deadline, (replica.replica.epoch, replica.replica.version)
        await asyncio.sleep(0.1)


def test_each_example_is_learned_from_once_however_often_it_is_killed(
    one_partition: KafkaSettings, start: Start, checkpoints: Checkpoints
) -> None:
    log = shown_and_clicked(4000)
    examples = Labelling(SMALL).take_all(log)
    wanted = undisturbed(log, examples)

    async def story() -> None:
        rng = np.random.default_rng(1)
        async with administration(one_partition) as admin:
            await create_absent(admin, one_partition, "user_id")
        # All is there before anybody learns, so that there is one order.
        await write(one_partition, log, examples)
        for epoch in range(1, 4):
            worker = start()
            worker.wait_for(f"leads in epoch {epoch}")
            worker.wait_for("wrote ")
            await asyncio.sleep(float(rng.random()) / 2)
            worker.kill()
        before = checkpoints.newest()
        assert before is not None
        assert restored(before, SMALL).queue.examples < len(examples), "killed in the midst of it"
        worker = start()
        found = await all_learned(checkpoints, one_partition, len(examples))
        assert worker.stop() == 0, worker.said()
        assert_equal(restored(found, SMALL), wanted)

    asyncio.run(story())


def test_a_standby_takes_over_and_replicas_follow(
    one_partition: KafkaSettings, start: Start, redis_server: RedisServer, checkpoints: Checkpoints
) -> None:
    log = shown_and_clicked(1200)
    examples = Labelling(SMALL).take_all(log)
    half, labelled_half = len(log) // 2, Labelling(SMALL).take_all(log[: len(log) // 2])

    async def story() -> None:
        first = start()
        first.wait_for("leads in epoch 1")
        second = start()
        second.wait_for("stands by")
        await write(one_partition, log[:half], labelled_half)
        await all_learned(checkpoints, one_partition, len(labelled_half))
        second.wait_for("training: loaded epoch-0000000001", 20)
        replica, channel = following(redis_server, one_partition)
        await served(replica, channel, lambda: replica.replica.version > 1 and bool(replica.replica.tables))
        assert replica.replica.epoch == 1
        await served(replica, channel, lambda: replica.replica.examples == len(labelled_half))
        first.kill()
        second.wait_for("leads in epoch 2", 20)
        await served(replica, channel, lambda: replica.replica.epoch == 2)
        await write(one_partition, log[half:], examples[len(labelled_half) :])
        found = await all_learned(checkpoints, one_partition, len(examples))
        assert restored(found, SMALL).queue.examples == len(examples)
        version = replica.replica.version
        await served(replica, channel, lambda: replica.replica.version > version)
        items = {event.item_id for event in log if hasattr(event, "item_id")}
        assert {one for one in replica.signals.catalogue.ids if one is not None} == items
        assert second.stop() == 0, second.said()

    asyncio.run(story())


def test_it_shows_how_good_what_it_publishes_is(one_partition: KafkaSettings, start: Start) -> None:
    log = shown_and_clicked(4000)

    async def story() -> None:
        worker = start()
        worker.wait_for("leads in epoch 1")
        await write(one_partition, log, Labelling(SMALL).take_all(log))
        shown: dict[str, float] = {}
        deadline = time.monotonic() + 60
        while not shown:
            assert time.monotonic() < deadline, worker.said()
            await asyncio.sleep(0.2)
            pattern = r'^stream_reco_progressive_quality\{metric="(\w+)"\} (.*)$'
            shown = {name: float(value) for name, value in re.findall(pattern, worker.metrics(), re.MULTILINE)}
        assert shown.keys() == {"auc", "logloss", "calibration"}
        assert 0.4 < shown["auc"] < 1.0
        assert 0.0 < shown["logloss"] < 1.5
        assert 0.1 < shown["calibration"] < 10.0
        # The transactions of examples end with markers, which are no records.
        for source in ("events-0", "examples-0"):
            lag = f'stream_reco_work_lag_records{{partition="{source}",work="training"}}'
            until(lambda lag=lag: worker.metric(lag) == 0)  # type: ignore[misc] # bound as of this round
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_one_who_wakes_up_late_publishes_nothing_and_stands_by(
    one_partition: KafkaSettings, start: Start, redis_server: RedisServer
) -> None:
    log = shown_and_clicked(600)
    examples = Labelling(SMALL).take_all(log)

    async def story() -> None:
        first = start()
        first.wait_for("leads in epoch 1")
        second = start()
        second.wait_for("stands by")
        await write(one_partition, log, examples)
        replica, channel = following(redis_server, one_partition)
        await served(replica, channel, lambda: replica.replica.version > 1)
        first.freeze()
        second.wait_for("leads in epoch 2", 30)
        await served(replica, channel, lambda: replica.replica.epoch == 2)
        cursor = channel.read("", 1000)[-1].cursor
        first.wake()
        first.wait_for("training: stands by", 60)
        await asyncio.sleep(2)
        later = [one.publication for one in channel.read(cursor, 1000)]
        assert later, "the one who leads goes on"
        assert {getattr(one, "epoch", None) for one in later} == {2}
        assert second.stop() == 0, second.said()
        first.wait_for("leads in epoch 3", 30)
        assert first.stop() == 0, first.said()

    asyncio.run(story())


def test_who_knows_nothing_yet_does_not_publish_it_where_there_is_something_to_read(
    one_partition: KafkaSettings, start: Start, redis_server: RedisServer
) -> None:
    """Scorers that follow one who led before, and left no checkpoint, would answer with nothing at all."""
    log = shown_and_clicked(600)
    channel = RedisChannel(RedisLink(redis_server.url), one_partition.prefix)

    async def story() -> None:
        async with administration(one_partition) as admin:
            await create_absent(admin, one_partition, "user_id")
        await write(one_partition, log, Labelling(SMALL).take_all(log))
        worker = start()
        worker.wait_for("leads in epoch 1")
        until(lambda: channel.read("", 1))
        first = channel.read("", 1)[0].publication
        assert isinstance(first, Publication)
        assert first.watermark > 0
        assert len(first.catalogue["slots"]) > 0
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_what_is_no_example_becomes_a_dead_letter(
    one_partition: KafkaSettings, start: Start, checkpoints: Checkpoints
) -> None:
    log = shown_and_clicked(300)
    examples = Labelling(SMALL).take_all(log)
    good = [msgspec.json.encode(example) for example in examples]
    odd = msgspec.json.encode({**msgspec.json.decode(good[0]), "label": 7})
    foreign = msgspec.json.encode({**msgspec.json.decode(good[0]), "features": "AAAA"})

    async def story() -> None:
        worker = start()
        worker.wait_for("leads in epoch 1")
        await kafka_log.write(one_partition, [kafka_log.message(event) for event in log])
        await kafka_log.write(one_partition, [(b"x", b"{"), (None, encode(log[0])[:-1])])
        await write_values(one_partition, [b"{", odd, foreign, *good])
        found = await all_learned(checkpoints, one_partition, len(good))
        assert worker.stop() == 0, worker.said()
        assert restored(found, SMALL).queue.examples in (len(good), len(good) + 1)
        values = await kafka_log.read(one_partition, "dead-letters")
        letters = [msgspec.json.decode(value) for value in values]
        assert [(one["reason"], one["offset"]) for one in letters] == [("json", 0), ("label", 1)]
        assert {one["topic"] for one in letters} == {f"{one_partition.prefix}.examples"}

    asyncio.run(story())


def test_who_has_other_settings_than_the_checkpoints_stops_and_says_so(
    start_worker: StartWorker,
    one_partition: KafkaSettings,
    start: Start,
    checkpoints: Checkpoints,
    tmp_path: Path,
    redis_server: RedisServer,
) -> None:
    log = shown_and_clicked(300)
    examples = Labelling(SMALL).take_all(log)
    given = GIVEN | {
        "MODEL_ITEM_DIM": "8",
        "REDIS_URL": redis_server.url,
        "REDIS_PREFIX": one_partition.prefix,
        "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
    }

    async def story() -> None:
        first = start()
        first.wait_for("leads in epoch 1")
        await write(one_partition, log, examples)
        await all_learned(checkpoints, one_partition, len(examples))
        standby = start_worker("training", one_partition, tmp_path / "standby", given)
        assert standby.process.wait(90) == 1
        assert first.stop() == 0, first.said()
        leader = start_worker("training", one_partition, tmp_path / "leader", given)
        assert leader.process.wait(90) == 1
        for worker in (standby, leader):
            (sentence,) = [line for line in worker.said().splitlines() if "cannot go on from" in line]
            assert sentence.startswith("stream-reco: training cannot go on from epoch-0000000001/checkpoint-")
            assert "do not fit; start with a new data folder" in sentence
            assert str(tmp_path / "checkpoints") in sentence
            assert "Traceback" not in worker.said()

    asyncio.run(story())


def test_redis_may_be_away_and_may_be_emptied(
    one_partition: KafkaSettings, start: Start, start_redis: Callable[..., RedisServer], checkpoints: Checkpoints
) -> None:
    log = shown_and_clicked(1500)
    examples = Labelling(SMALL).take_all(log)
    redis = start_redis()
    redis.kill()

    async def story() -> None:
        worker = start(redis=redis)
        worker.wait_for("nothing is published")
        await write(one_partition, log, examples)
        await all_learned(checkpoints, one_partition, len(examples))
        redis.start()
        replica, channel = following(redis, one_partition)
        await served(replica, channel, lambda: replica.replica.version > 0)
        redis.do("FLUSHALL")
        another, channel = following(redis, one_partition)
        await served(another, channel, lambda: another.replica.version > 0)
        assert another.replica.epoch == 1
        assert len(another.replica.tables["item"]) == len(replica.replica.tables["item"]) > 0
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


def test_a_broker_that_dies_is_waited_for_and_time_goes_on(
    stopped_kafka: KafkaServer, topic_prefix: str, start: Start, checkpoints: Checkpoints
) -> None:
    kafka = KafkaSettings(bootstrap=stopped_kafka.bootstrap, prefix=topic_prefix, partitions=3, session_seconds=6.0)
    log = shown_and_clicked(600)
    examples = Labelling(SMALL).take_all(log)
    half, labelled_half = len(log) // 2, Labelling(SMALL).take_all(log[: len(log) // 2])
    now = SystemClock().now_ms()
    live: list[Event] = [
        Action(user_id=user, item_id=number, action="click", timestamp=now + number, event_id=f"now-{number}")
        for number, user in enumerate(["gone", "kept", "gone", "kept", "gone"])
    ]
    unprompted = Labelling(SMALL).take_all(live)
    assert len(unprompted) == 5

    async def story() -> None:
        worker = start(kafka)
        await asyncio.sleep(1)
        stopped_kafka.start()
        worker.wait_for("leads in epoch 1")
        await write(kafka, log[:half], labelled_half)
        stopped_kafka.kill()
        await asyncio.sleep(2)
        stopped_kafka.start()
        await write(kafka, log[half:], examples[len(labelled_half) :])
        await kafka_log.write(kafka, [kafka_log.message(event) for event in live])
        await kafka_log.write(kafka, [(b"gone", encode_deletion(Deletion(user_id="gone", timestamp=now)))])
        await write_values(kafka, [msgspec.json.encode(example) for example in unprompted])
        deadline = time.monotonic() + 60
        while (found := learned(checkpoints, SMALL)) is None or found[0].queue.examples < len(examples) + 5:
            assert time.monotonic() < deadline, worker.said()
            await asyncio.sleep(0.5)
        learner, _ = found
        assert learner.queue.examples == len(examples) + 5, "each once"
        assert learner.queue.waiting == [], "the clock goes on where no events do"
        assert learner.state.histories.row_of("gone") == -1
        assert learner.state.histories.row_of("kept") >= 0
        assert worker.stop() == 0, worker.said()

    asyncio.run(story())


@pytest.mark.parametrize("missing", ["REDIS_URL", "TRAINING_CHECKPOINT_DIR"])
def test_it_says_what_is_missing(
    start_worker: StartWorker, one_partition: KafkaSettings, tmp_path: Path, missing: str
) -> None:
    given = {"REDIS_URL": "redis://127.0.0.1:1", "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
    del given[missing]
    worker = start_worker("training", one_partition, tmp_path / "trainer", given)
    assert worker.process.wait(60) == 1
    assert f"STREAM_RECO_{missing}" in worker.said()
