"""Reads a topic once, from given offsets to its present end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import consumer_arguments
from topologies.client.connection import KafkaUnavailableError, close, connect
from topologies.client.consumer_metadata import partitions_now

_WAIT_MS = 500
SILENT_SECONDS = 30.0
"""Without a message for this long a broker is taken to be unavailable."""


async def read_to_end(
    kafka: KafkaSettings, topic: str, begin: Mapping[int, int] | None = None
) -> AsyncIterator[list[Any]]:
    """The committed messages present now, in batches of one partition (`aiokafka.ConsumerRecord`).

    `begin` maps partitions to their first offset; others begin with the oldest message. Raises
    `UnknownTopicOrPartitionError` if there is no such topic, `KafkaUnavailableError` where nothing comes for half a
    minute.
    """
    consumer = await connect(kafka, lambda: AIOKafkaConsumer(**consumer_arguments(kafka)), SILENT_SECONDS)
    try:
        ends, silent = await _assign(consumer, topic, begin or {}), 0
        while ends:
            found = await consumer.getmany(timeout_ms=_WAIT_MS)
            silent = 0 if found else silent + 1
            if silent * _WAIT_MS > 1000 * SILENT_SECONDS:
                raise KafkaUnavailableError(
                    f"Kafka at {kafka.bootstrap} did not deliver all of topic {topic}: timed out"
                )
            for partition, records in found.items():
                if before := [record for record in records if record.offset < ends.get(partition, 0)]:
                    yield before
            # By position: the last offset may be a transaction marker, which is no message.
            ends = {each: end for each, end in ends.items() if await consumer.position(each) < end}
    finally:
        await close(consumer)


async def _assign(consumer: AIOKafkaConsumer, topic: str, begin: Mapping[int, int]) -> dict[TopicPartition, int]:
    numbers = await partitions_now(consumer, topic)
    if not numbers:
        raise UnknownTopicOrPartitionError(topic)
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    starts = await consumer.beginning_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(starts[partition], begin.get(partition.partition, 0)))
    return ends
