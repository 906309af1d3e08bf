"""Events written to Kafka, and what has come of them, read again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event, encode
from stream_reco.labels import Example
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.read_to_end import read_to_end
from topologies.messages.keys import event_key

Messages = Sequence[tuple[bytes | None, bytes]]


async def write(kafka: KafkaSettings, messages: Messages, partition: int | None = None, topic: str = "events") -> None:
    """Write keys and values to the events, or another topic, in their order; returns once they are there."""
    producer = AIOKafkaProducer(**producer_arguments(kafka), linger_ms=5)
    await producer.start()
    try:
        for key, value in messages:
            await producer.send(f"{kafka.prefix}.{topic}", value, key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


def message(event: Event) -> tuple[bytes | None, bytes]:
    """An event with its key."""
    return event_key(event, "user_id"), encode(event)


async def read(kafka: KafkaSettings, topic: str) -> list[bytes]:
    """All committed values of a topic."""
    return [record.value async for records in read_to_end(kafka, f"{kafka.prefix}.{topic}") for record in records]


async def lag(kafka: KafkaSettings, group: str) -> int:
    """0 where the group has committed all events, else about how many it has not."""
    consumer = AIOKafkaConsumer(**consumer_arguments(kafka, group))
    await consumer.start()
    try:
        parts = [TopicPartition(f"{kafka.prefix}.events", number) for number in range(kafka.partitions)]
        ends, begin = await consumer.end_offsets(parts), {part: await consumer.committed(part) or 0 for part in parts}
        behind = [part for part in parts if begin[part] < ends[part]]
        consumer.assign(behind)
        for part in behind:
            consumer.seek(part, begin[part])
        # What is left may be the marker of a transaction, which nobody commits: events are redriven in one.
        while behind:
            if await consumer.getmany(*behind, timeout_ms=200, max_records=1):
                return sum(ends[part] - begin[part] for part in behind)
            behind = [part for part in behind if await consumer.position(part) < ends[part]]
        return 0
    finally:
        await consumer.stop()


def examples(values: Sequence[bytes]) -> list[Example]:
    """Decoded."""
    return [msgspec.json.decode(value, type=Example) for value in values]
