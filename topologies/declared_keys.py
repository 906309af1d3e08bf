"""By which key a topic was declared: Kafka itself does not know, and a topic with two keys is of no use."""

from __future__ import annotations

import msgspec
from aiokafka import AIOKafkaProducer

from stream_reco.config.servers import KafkaSettings
from topologies.clients import producer_arguments
from topologies.connecting import connected, let_go
from topologies.reading import read_to_end


class DeclaredKey(msgspec.Struct, frozen=True):
    """The value of a message of the topic `declared`, whose key is the topic's name."""

    key: str


async def declare(kafka: KafkaSettings, declared: str, topic: str, key: str) -> None:
    """Write down in the topic `declared` that the messages of `topic` have this field as key."""
    producer = await connected(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka)))
    try:
        await producer.send_and_wait(declared, msgspec.json.encode(DeclaredKey(key)), topic.encode())
    finally:
        await let_go(producer)


async def declared_keys(kafka: KafkaSettings, declared: str) -> dict[str, str]:
    """Topic → field, as the topic `declared` has it."""
    keys: dict[str, str] = {}
    async for records in read_to_end(kafka, declared):
        for record in records:
            if record.key is not None and record.value is not None:
                keys[record.key.decode()] = msgspec.json.decode(record.value, type=DeclaredKey).key
    return keys
