"""The clients of Kafka of one kind of worker, connected."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import connected


class PartitionClients:
    """Makes them for the work called `name`, which is its consumer group; a Kafka that is away is waited for."""

    def __init__(self, kafka: KafkaSettings, name: str) -> None:
        self._kafka, self._name = kafka, name

    @property
    def group_id(self) -> str:
        """The group, as Kafka knows it."""
        return f"{self._kafka.prefix}.{self._name}"

    async def consumer(self) -> AIOKafkaConsumer:
        """Takes part in the group once it subscribes, or asks about what it is assigned by hand."""
        return await self._connected(gaps=True)

    async def reader(self) -> AIOKafkaConsumer:
        """Reads what is committed; to be assigned by hand, and at once let seek.

        Reading raises OffsetOutOfRangeError where the topic's retention was faster.
        """
        return await self._connected(gaps=False)

    async def _connected(self, *, gaps: bool) -> AIOKafkaConsumer:
        arguments = consumer_arguments(self._kafka, self._name, gaps=gaps)
        return await connected(self._kafka, lambda: AIOKafkaConsumer(**arguments))

    async def producer(self, partition: int) -> AIOKafkaProducer:
        """Writes what comes of one input partition; as it starts, it fences whoever did so before."""
        arguments = producer_arguments(self._kafka, f"{self._name}.{partition}")
        return await connected(self._kafka, lambda: AIOKafkaProducer(**arguments))
