"""Two trainers that learn one model over a real Kafka: each example once, one model, whoever is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.redis.connection import RedisLink
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync.redis.channel import RedisChannel
from stream_reco.train.exchange import ModelExchange
from tests.embedded.journal.recovery_world import AS_VARIABLES, SETTINGS
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.learned import newest, restored
from tests.integration.workers import Worker
from tests.learner.two_streams import Labelling, clicked, learner_of
from tests.redis_server import RedisServer
from topologies.client.configuration import producer_arguments
from topologies.client.connection import administration
from topologies.client.read_to_end import read_to_end
from topologies.messages.contribution import Contribution, decode_contribution
from topologies.messages.keys import id_key
from topologies.topics.validation import create_absent
from topologies.trainer.checkpoints import Checkpoints

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(300)]

SMALL = replace(SETTINGS, labels=replace(SETTINGS.labels, window_days=0.001, negative_rate=1.0))
GIVEN = AS_VARIABLES | {
    "LABELS_WINDOW_DAYS": "0.001",
    "TRAINING_CHECKPOINT_EVENTS": "100000",
    "TRAINING_CHECKPOINT_SECONDS": "3",
    "TRAINING_TRAINERS": "2",
}
"""`SMALL`, as environment variables. Checkpoints are seldom, so that much of what is committed is in none."""
Start = Callable[[int], Worker]


@pytest.fixture
def start(start_worker: StartWorker, kafka_settings: KafkaSettings, tmp_path: Path, redis_server: RedisServer) -> Start:
    """Starts a trainer of a number."""
    processes = count()

    def begin(number: int) -> Worker:
        given = GIVEN | {
            "REDIS_URL": redis_server.url,
            "REDIS_PREFIX": kafka_settings.prefix,
            "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
            "TRAINING_TRAINER": str(number),
        }
        folder = tmp_path / f"process-{next(processes)}"
        return start_worker("training", kafka_settings, folder, given, ("--sync-interval", "0.2"))

    return begin


async def write(kafka: KafkaSettings, log: Sequence[Event], examples: Sequence[Example]) -> None:
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log])
    producer = AIOKafkaProducer(**producer_arguments(kafka), linger_ms=5)
    await producer.start()
    try:
        for example in examples:
            await producer.send(f"{kafka.prefix}.examples", msgspec.json.encode(example), id_key(example.user_id))
        await producer.flush()
    finally:
        await producer.stop()


async def added(kafka: KafkaSettings) -> list[Contribution]:
    return [one for _, one in await added_at(kafka)]


async def added_at(kafka: KafkaSettings) -> list[tuple[int, Contribution]]:
    """What is in the log, with its offsets."""
    return [
        (record.offset, decode_contribution(record.value))
        async for records in read_to_end(kafka, f"{kafka.prefix}.trainer-exchange")
        for record in records
    ]


async def all_added(kafka: KafkaSettings, examples: int, seconds: float = 120.0) -> list[Contribution]:
    """The log of the trainers, once as many examples are in it."""
    deadline = time.monotonic() + seconds
    while True:
        log = await added(kafka)
        found = sum(one.examples for one in log)
        if found >= examples:
            return log
        assert time.monotonic() < deadline, f"{found} of {examples} examples were learned from"
        await asyncio.sleep(0.3)


def model_of(log: Sequence[Contribution]) -> DistributedLearner:
    """The model that the log makes of a new one."""
    learner = learner_of(SMALL)
    exchange = ModelExchange(learner.queue.trainer, 0, 2)
    exchange.merge([one.deltas() for one in log], 0)
    return learner


def assert_same_model(found: DistributedLearner, wanted: DistributedLearner) -> None:
    """To the bit."""
    for name, table in wanted.queue.trainer.tables.items():
        keys, other = np.sort(table.keys()), found.queue.trainer.tables[name]
        assert np.array_equal(np.sort(other.keys()), keys), name
        assert other.lookup(keys).tobytes() == table.lookup(keys).tobytes(), name
    states = wanted.queue.trainer.state(), found.queue.trainer.state()
    for name, part in states[0].items():
        if name.startswith(("weights.", "averaged.", "adam.")):
            assert part.tobytes() == states[1][name].tobytes(), name


@pytest.mark.parametrize("victims", [(0, 1), (1, 0)], ids=["publisher-first", "other-first"])
def test_two_learn_one_model_and_each_example_once_however_often_one_is_killed(
    kafka_settings: KafkaSettings, start: Start, tmp_path: Path, redis_server: RedisServer, victims: tuple[int, int]
) -> None:
    log = clicked(12_000)  # enough that none is through before the second one is killed
    examples = Labelling(SMALL).take_all(log)
    folder = tmp_path / "checkpoints"

    async def story() -> None:
        async with administration(kafka_settings) as admin:
            await create_absent(admin, kafka_settings, "user_id")
        await write(kafka_settings, log, examples)
        running = [start(0), start(1)]
        running[0].wait_for("leads in epoch 1")
        running[1].wait_for("leads in epoch 1")
        for victim in victims:
            before = len(await added(kafka_settings))
            await all_added(kafka_settings, sum(one.examples for one in await added(kafka_settings)) + 200)
            so_far = await added(kafka_settings)
            assert len(so_far) > before
            assert sum(one.examples for one in so_far) < len(examples), "killed in the midst of it"
            running[victim].kill()
            running[victim] = start(victim)
            running[victim].wait_for("leads in epoch 2")
        whole = await all_added(kafka_settings, len(examples))
        channel = RedisChannel(RedisLink(redis_server.url), kafka_settings.prefix)
        replica = ServingState(SMALL.model, SMALL.signals)
        await asyncio.sleep(2)
        replica.replica.poll(channel)
        assert [worker.stop() for worker in running] == [0, 0], running[0].said() + running[1].said()
        log_now = await added_at(kafka_settings)
        assert sum(one.examples for _, one in log_now) == len(examples), "each once"
        learned_by = {number: sum(one.examples for one in whole if one.trainer == number) for number in (0, 1)}
        assert min(learned_by.values()) > len(examples) / 5
        for each in (Checkpoints(folder), Checkpoints(folder / "trainer-1")):
            found = newest(each)
            assert found is not None
            read = found.offsets[f"{kafka_settings.prefix}.trainer-exchange"][0]
            wanted = model_of([one for offset, one in log_now if offset < read])
            assert_same_model(restored(found, SMALL), wanted)
        assert replica.replica.epoch == 2
        users = wanted.queue.trainer.tables["user"].keys()
        assert len(replica.replica.tables["user"]) == len(users), "rows of all users are published"

    asyncio.run(story())
