"""Labelling over a real Kafka: whatever happens to workers and broker, the examples are those of the reference join."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event, Impression, ItemEvent, encode
from stream_reco.labels.settings import DAY_MS
from stream_reco.simulate.late_clicks import late_clicks
from tests.integration import kafka_log
from tests.integration.arriving import disordered
from tests.integration.conftest import StartWorker
from tests.integration.references import labels
from tests.kafka_server import KafkaServer
from tests.labels.reference_join import Row, distinct, reference_join, row, rows
from tests.labels.test_joiner_properties import chains
from topologies.messages.keys import id_key
from topologies.messages.user_deletion import Deletion, encode_deletion

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

DAYS, WINDOW_MS = 5, DAY_MS


def a_log(seed: int = 0) -> list[Event]:
    """Slates and their clicks, many of them after the window, in the order of their times."""
    return [event for event, _ in late_clicks(DAYS, seed, requests_per_day=150, users=40, items=30)]


def end_of_time(log: Sequence[Event]) -> bytes:
    """An event after which every deadline has passed."""
    return encode(ItemEvent(item_id="last", timestamp=max(event.timestamp for event in log) + 30 * DAY_MS))


async def write_all(kafka: KafkaSettings, log: Sequence[Event]) -> None:
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log])


async def end(kafka: KafkaSettings, log: Sequence[Event]) -> None:
    for partition in range(kafka.partitions):
        await kafka_log.write(kafka, [(b"last", end_of_time(log))], partition)


async def done(kafka: KafkaSettings, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while await kafka_log.lag(kafka, "labelling"):
        assert time.monotonic() < deadline, "labelling does not come to an end"
        await asyncio.sleep(0.2)


async def examples(kafka: KafkaSettings) -> Counter[Row]:
    return rows(kafka_log.examples(await kafka_log.read(kafka, "examples")))


def test_examples_are_those_of_the_reference_join(kafka_settings: KafkaSettings, start_labelling: StartWorker) -> None:
    async def story() -> None:
        log = a_log()
        worker = start_labelling()
        worker.wait_until_at_work()
        bad = [b"{", b'{"type":"wish"}', b"\xff", b'{"type":"impression","user_id":1,"item_id":2,"timestamp":1}', b""]
        await kafka_log.write(kafka_settings, [(b"x", value) for value in bad])
        await write_all(kafka_settings, disordered(log, 1))
        await kafka_log.write(kafka_settings, [(None, b"null key")])
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        assert await examples(kafka_settings) == labels(log, WINDOW_MS)
        letters = [msgspec.json.decode(value) for value in await kafka_log.read(kafka_settings, "dead-letters")]
        assert Counter(letter["reason"] for letter in letters) == {"json": 4, "type": 1, "timestamp": 1}

    asyncio.run(story())


def test_what_auto_presumes_ends_in_the_labels_of_the_reference_join(
    kafka_settings: KafkaSettings, start_labelling: StartWorker, tmp_path: Path
) -> None:
    async def story() -> None:
        log = disordered(a_log(1), 1)
        worker = start_labelling(policy="auto")
        worker.wait_until_at_work()
        await write_all(kafka_settings, log[: len(log) // 2])
        worker.kill()
        shutil.rmtree(tmp_path / "a")
        worker = start_labelling(policy="auto")
        await write_all(kafka_settings, log[len(log) // 2 :])
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        found = list(map(row, kafka_log.examples(await kafka_log.read(kafka_settings, "examples"))))
        expected = chains(reference_join(distinct(log), WINDOW_MS))
        assert {key: chain[-1][0] for key, chain in chains(found).items()} == {
            key: chain[-1][0] for key, chain in expected.items()
        }
        assert sum(one[5] == "immediate" for one in found) > 1_000
        assert not any(one[5] == "window" for one in found)

    asyncio.run(story())


def test_nothing_is_lost_or_doubled_by_kills_and_by_a_lost_disk(
    kafka_settings: KafkaSettings, start_labelling: StartWorker, tmp_path: Path
) -> None:
    async def story() -> None:
        rng = np.random.default_rng(3)
        log = disordered(a_log(2), 2)
        worker = start_labelling()
        worker.wait_until_at_work()
        for number, portion in enumerate(np.array_split(np.arange(len(log)), 6)):
            await write_all(kafka_settings, [log[at] for at in portion])
            await asyncio.sleep(float(rng.random()))
            worker.kill()
            if number == 3:
                shutil.rmtree(tmp_path / "a")
            worker = start_labelling("a" if number < 4 else "b")
        await end(kafka_settings, log)
        await done(kafka_settings)
        assert worker.stop() == 0, worker.said()
        assert await examples(kafka_settings) == labels(log, WINDOW_MS)

    asyncio.run(story())


def test_workers_come_and_go_and_one_wakes_up_late(kafka_settings: KafkaSettings, start_labelling: StartWorker) -> None:
    async def story() -> None:
        log = disordered(a_log(4), 4)
        parts = [[log[at] for at in portion] for portion in np.array_split(np.arange(len(log)), 4)]
        first = start_labelling("a")
        first.wait_until_at_work()
        await write_all(kafka_settings, parts[0])
        second = start_labelling("b")
        second.wait_until_at_work()
        await write_all(kafka_settings, parts[1])
        first.freeze()
        await write_all(kafka_settings, parts[2])
        # The frozen one's partition moves once its session is over, and it wakes up with work under way.
        second.wait_for("works on partitions 0, 1")
        first.wake()
        await write_all(kafka_settings, parts[3])
        await end(kafka_settings, log)
        await done(kafka_settings)
        second.stop()
        first.stop()
        assert await examples(kafka_settings) == labels(log, WINDOW_MS)

    asyncio.run(story())


def test_a_broker_that_dies_is_waited_for(
    stopped_kafka: KafkaServer, topic_prefix: str, start_labelling: StartWorker
) -> None:
    kafka = KafkaSettings(bootstrap=stopped_kafka.bootstrap, prefix=topic_prefix, partitions=2, session_seconds=6.0)

    async def story() -> None:
        log = disordered(a_log(5), 5)
        half = len(log) // 2
        worker = start_labelling("a", kafka)
        await asyncio.sleep(2)
        assert worker.process.poll() is None, worker.said()
        stopped_kafka.start()
        worker.wait_until_at_work()
        await write_all(kafka, log[:half])
        stopped_kafka.kill()
        await asyncio.sleep(1)
        stopped_kafka.start()
        await write_all(kafka, log[half:])
        await end(kafka, log)
        await done(kafka)
        assert worker.stop() == 0, worker.said()
        assert await examples(kafka) == labels(log, WINDOW_MS)

    asyncio.run(story())


def test_a_deleted_user_gives_no_more_examples(kafka_settings: KafkaSettings, start_labelling: StartWorker) -> None:
    async def story() -> None:
        log = a_log(6)
        at = len(log) // 2
        users = sorted({event.user_id for event in log if isinstance(event, Impression)}, key=str)
        worker = start_labelling()
        worker.wait_until_at_work()
        await write_all(kafka_settings, log[:at])
        deletion = encode_deletion(Deletion(user_id=users[0], timestamp=log[at].timestamp))
        await kafka_log.write(kafka_settings, [(id_key(users[0]), deletion)])
        await done(kafka_settings)
        before = [row for row in (await examples(kafka_settings)).elements() if row[0] == users[0]]
        await end(kafka_settings, log)
        await done(kafka_settings)
        found = await examples(kafka_settings)
        assert worker.stop() == 0, worker.said()
        assert [row for row in found.elements() if row[0] == users[0]] == before
        assert Counter(row for row in found.elements() if row[0] != users[0]) == Counter(
            row for row in labels(log[:at], WINDOW_MS).elements() if row[0] != users[0]
        )
        assert len(before) < sum(row[0] == users[0] for row in labels(log[:at], WINDOW_MS).elements())
        assert await kafka_log.read(kafka_settings, "dead-letters") == []

    asyncio.run(story())


def test_two_workers_on_one_folder_are_refused(start_labelling: StartWorker) -> None:
    async def story() -> None:
        first = start_labelling("a")
        first.wait_until_at_work()
        second = start_labelling("a")
        assert second.process.wait(60) == 1
        assert "state.dir" in second.said()
        assert f"process {first.process.pid}" in second.said()
        assert first.stop() == 0

    asyncio.run(story())
