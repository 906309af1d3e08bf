"""Notes about topics that Kafka itself does not keep: the field that is the key, the dead letters sent again.

They are kept in a compacted topic of one partition. Offsets that a group commits would not do: brokers delete those a
week after the group's last activity.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaProducer

from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import producer_arguments
from topologies.client.connection import close, connect
from topologies.client.read_to_end import SILENT_SECONDS, read_to_end
from topologies.topics.offset_ranges import Ranges

_KEY, _REDRIVEN = "key/", "driven/"


class DeclaredKey(msgspec.Struct, frozen=True):
    """The note `key/<topic>`: the field of its messages that is their key."""

    key: str


class RedrivenOffsets(msgspec.Struct, frozen=True):
    """The note `driven/<partition>`: offsets of the dead letters that were sent again, such as `0-7,9`."""

    driven: str


async def declare(kafka: KafkaSettings, registry: str, topic: str, key: str) -> None:
    """Note in the topic `registry` that the messages of `topic` have this field as key."""
    producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka)), SILENT_SECONDS)
    try:
        note = msgspec.json.encode(DeclaredKey(key))
        await producer.send_and_wait(registry, note, f"{_KEY}{topic}".encode(), partition=0)
    finally:
        await close(producer)


async def declared_keys(kafka: KafkaSettings, registry: str) -> dict[str, str]:
    """Topic → field, as noted in the topic `registry`."""
    notes = await _notes(kafka, registry, _KEY)
    return {topic: msgspec.json.decode(note, type=DeclaredKey).key for topic, note in notes.items()}


async def redriven_offsets(kafka: KafkaSettings, registry: str) -> dict[int, Ranges]:
    """Partition of the dead letters → offsets of those that were sent again."""
    notes = await _notes(kafka, registry, _REDRIVEN)
    return {
        int(partition): Ranges.parse(msgspec.json.decode(note, type=RedrivenOffsets).driven)
        for partition, note in notes.items()
    }


def redrive_note(partition: int, driven: Ranges) -> tuple[bytes, bytes]:
    """Key and value of the note, to be written in the transaction that sends the letters."""
    return f"{_REDRIVEN}{partition}".encode(), msgspec.json.encode(RedrivenOffsets(str(driven)))


async def _notes(kafka: KafkaSettings, registry: str, kind: str) -> Mapping[str, bytes]:
    notes: dict[str, bytes] = {}
    async for records in read_to_end(kafka, registry):
        for record in records:
            name = (record.key or b"").decode()
            if name.startswith(kind) and record.value is not None:
                notes[name.removeprefix(kind)] = record.value
    return notes
