"""`stream-reco ingest --kafka` as people run it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.datasets import load
from stream_reco.events import decode
from tests.cli.test_commands import stream_reco
from tests.programs import kafka_environ
from topologies.client.read_to_end import read_to_end

ROWS = 2500
COLUMNS = {"user": "user", "item": "item", "timestamp": "at"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    lines = [f"{number % 40},{number % 9},{1_700_000_000_000 + number * 1000}" for number in range(ROWS)]
    path.write_text("\n".join(["user,item,at", *lines, "7,,1700000000000"]) + "\n")
    return path


def arguments(log: Path) -> list[object]:
    return ["ingest", log, "--format", "table", "--columns", "user=user,item=item,timestamp=at"]


async def _lying(kafka: KafkaSettings) -> list[Any]:
    return [record async for records in read_to_end(kafka, f"{kafka.prefix}.events") for record in records]


@pytest.mark.kafka
def test_a_log_goes_into_the_topic_with_the_ids_of_its_rows(kafka_settings: KafkaSettings, log: Path) -> None:
    environ = kafka_environ(replace(kafka_settings, partitions=3))
    status, output, complaint = stream_reco(*arguments(log), "--kafka", **environ)
    assert status == 1
    assert "events does not exist: create it with `stream-reco topics create`" in complaint
    assert output.startswith("0 events sent")
    assert stream_reco("topics", "create", **environ)[0] == 0

    status, output, complaint = stream_reco(*arguments(log), "--kafka", "--batch", 700, **environ)
    assert (status, complaint) == (0, "")
    assert output == (
        "2,500 events sent to Kafka; 1 invalid rows in the file\n  dead letter id clicks.csv:2502: item is ''\n"
    )
    records = asyncio.run(_lying(kafka_settings))
    events = [decode(record.value) for record in records]
    log_ids = {event.event_id for event in load(log, "table", columns=COLUMNS)}
    assert {event.event_id for event in events} == log_ids
    assert len(log_ids) == ROWS
    assert {record.partition for record in records} == {0, 1, 2}
    homes = {(record.key, record.partition) for record in records}
    assert len(homes) == 40
    status, output, _ = stream_reco(*arguments(log), "--kafka", "--limit", 5, **environ)
    assert output.startswith("5 events sent")
    assert len(asyncio.run(_lying(kafka_settings))) == ROWS + 5


def test_one_way_is_enough(log: Path) -> None:
    status, _, complaint = stream_reco(*arguments(log), "--kafka", "--url", "http://127.0.0.1:1")
    assert status == 2
    assert "--url and --kafka exclude each other" in complaint
    status, _, complaint = stream_reco(*arguments(log), "--kafka", STREAM_RECO_KAFKA_BOOTSTRAP="")
    assert status == 2
    assert "kafka.bootstrap is not set" in complaint


def test_a_broker_that_is_away_ends_the_patience(log: Path) -> None:
    environ = {"STREAM_RECO_KAFKA_BOOTSTRAP": "127.0.0.1:9"}
    status, output, complaint = stream_reco(*arguments(log), "--kafka", "--patience", 1, **environ)
    assert status == 1
    assert output.startswith("0 events sent to Kafka; 1 invalid rows in the file\n")
    assert "does not answer: Connection refused" in complaint
