"""Records that Kafka deletes before they were read: work goes on behind them, and tells how many there were."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Action, Event
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.workers import Worker
from tests.redis_server import RedisServer
from topologies.client.connection import administration

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(240)]

START = 1_700_000_000_000
IN_WORK = {"labelling": "is open at offset", "interests": "is open at offset", "training": "leads in epoch"}


@pytest.mark.parametrize(
    ("name", "asleep"),
    [
        ("labelling", True),
        ("interests", True),
        ("training", True),
        ("labelling", False),
        ("training", False),
    ],
)
def test_what_was_deleted_unread_is_counted(
    start_worker: StartWorker,
    kafka_settings: KafkaSettings,
    redis_server: RedisServer,
    tmp_path: Path,
    name: str,
    asleep: bool,
) -> None:
    given = {
        "REDIS_URL": redis_server.url,
        "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        "TRAINING_CHECKPOINT_EVENTS": "10",
    }
    worker = start_worker(name, kafka_settings, tmp_path, given)
    worker.wait_for(IN_WORK[name])
    asyncio.run(write(kafka_settings, range(20)))
    until(worker, lambda: worker.metric(f'stream_reco_work_records_total{{work="{name}"}}') >= 20)
    if name == "training":
        worker.wait_for("training: wrote ")
    if asleep:
        worker.freeze()
    else:
        assert worker.stop() == 0
    # The first of these are the answer to a reader that waits; it will have them, and ask for what comes next.
    asyncio.run(write(kafka_settings, range(20, 25)))
    asyncio.run(write(kafka_settings, range(25, 50)))
    asyncio.run(delete(kafka_settings, 45))
    if asleep:
        worker.wake()
    else:
        worker = start_worker(name, kafka_settings, tmp_path, given)
        worker.wait_for(r"(?s)metrics are at.*metrics are at")
    missed = f'stream_reco_work_missed_total{{work="{name}"}}'
    until(worker, lambda: worker.metric(missed) > 0)
    # Training begins anew with the checkpoint of the first twenty.
    assert worker.metric(missed) in ({20, 25} if asleep and name != "training" else {25})
    asyncio.run(write(kafka_settings, range(50, 60)))
    wanted = 60 - worker.metric(missed) - (0 if asleep else 20)
    until(worker, lambda: worker.metric(f'stream_reco_work_records_total{{work="{name}"}}') >= wanted)
    assert worker.said().count("were deleted before they were") == 1


async def write(kafka: KafkaSettings, numbers: range) -> None:
    """Actions into the first partition."""
    events: list[Event] = [
        Action(user_id="u", item_id=number, action="click", event_id=f"e{number}", timestamp=START + number)
        for number in numbers
    ]
    await kafka_log.write(kafka, [kafka_log.message(event) for event in events], partition=0)


async def delete(kafka: KafkaSettings, before: int) -> None:
    """What retention would delete: all before this offset of the first partition."""
    async with administration(kafka) as admin:
        part = TopicPartition(f"{kafka.prefix}.events", 0)
        await admin.delete_records({part: RecordsToDelete(before_offset=before)})


def until(worker: Worker, condition: object, seconds: float = 40.0) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, worker.said()
        time.sleep(0.1)
