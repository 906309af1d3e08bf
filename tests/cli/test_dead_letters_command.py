"""`stream-reco dead-letters` as people run it."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from stream_reco.config.servers import KafkaSettings
from tests.cli.test_commands import stream_reco
from tests.programs import kafka_environ
from topologies.client.configuration import producer_arguments
from topologies.client.connection import administration, close, connect
from topologies.dead_letters.letter import DeadLetter, encode_letter
from topologies.topics.validation import create_absent


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["list"], "kafka.bootstrap is not set"),
        (["redrive"], "kafka.bootstrap is not set"),
        (["burn"], "burn"),
        (["list", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    status, _, said = stream_reco("dead-letters", *arguments, STREAM_RECO_KAFKA_BOOTSTRAP="")
    assert status == 2
    assert complaint in said


def _letter(kafka: KafkaSettings, number: int, reason: str, message: str) -> DeadLetter:
    return DeadLetter(
        topic=f"{kafka.prefix}.events",
        partition=1,
        offset=100 + number,
        reason=reason,
        message=message,
        key=b"u%d" % number,
        value=b"\xff%d" % number,
        time=1_700_000_000_000,
    )


async def _file(kafka: KafkaSettings) -> None:
    async with administration(kafka, 20) as admin:
        await create_absent(admin, kafka, "user_id")
    producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka)))
    letters = [_letter(kafka, 0, "json", "not JSON"), _letter(kafka, 1, "type", "[red]:100:type\x1b[2J[/red]")]
    strange = DeadLetter(
        topic=f"{kafka.prefix}.events", partition=0, offset=0, reason="id", message="", key=None, value=None, time=2**60
    )
    for data in (*map(encode_letter, letters), b"junk", encode_letter(strange)):
        await producer.send_and_wait(f"{kafka.prefix}.dead-letters", data)
    await close(producer)


@pytest.mark.kafka
def test_list_and_redrive(kafka_settings: KafkaSettings) -> None:
    environ = kafka_environ(kafka_settings) | {"COLUMNS": "60"}
    status, _, complaint = stream_reco("dead-letters", "list", **environ)
    assert status == 1
    assert "dead-letters does not exist: create it with `stream-reco topics create`" in complaint
    asyncio.run(_file(kafka_settings))

    status, output, complaint = stream_reco("dead-letters", "list", **environ)
    assert (status, complaint) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    events = f"{kafka_settings.prefix}.events"
    assert lines[1] == ["0", "2023-11-14", "22:13:20", events, "1", "100", "json", "not", "JSON"]
    assert lines[2][-1] == r"[red]:100:type\x1b[2J[/red]"
    assert lines[3] == ["2", "no", "dead", "letter"]
    assert lines[4][1] == str(2**60)
    status, output, _ = stream_reco("dead-letters", "list", "--limit", 1, **environ)
    assert "4 in all; the newest 1 are shown (--limit)" in output
    status, output, _ = stream_reco("dead-letters", "list", "--json", "--reason", "json", **environ)
    assert json.loads(output) == {
        "filed": {"partition": 0, "offset": 0},
        "topic": events,
        "partition": 1,
        "offset": 100,
        "reason": "json",
        "message": "not JSON",
        "key": "dTA=",
        "value": "/zA=",
        "time": 1_700_000_000_000,
    }

    status, _, complaint = stream_reco("dead-letters", "redrive", "--offset", "7-3", **environ)
    assert status == 2
    assert "--offset: '7-3' ends before it begins" in complaint
    status, output, complaint = stream_reco("dead-letters", "redrive", "--reason", "type", **environ)
    assert (status, complaint) == (0, "")
    assert output.splitlines() == [
        f"sent 1 again to {events}",
        "1 were not selected",
        "2 cannot be sent: they are not dead letters, or have neither key nor value",
    ]
    status, output, complaint = stream_reco("dead-letters", "redrive", "--offset", "1", **environ)
    assert (status, complaint) == (0, "")
    assert "1 had been sent again before" in output
    assert output.endswith("nothing was sent\n")

    status, deprecated, complaint = stream_reco("dead-letters", "drive", "--offset", "1", **environ)
    assert (status, deprecated) == (0, output)
    assert complaint == (
        "warning: `dead-letters drive` is deprecated and goes with the next release; use `dead-letters redrive`\n"
    )
