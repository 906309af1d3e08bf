"""One input partition, exactly once: what is read, what comes of it and what is remembered become one transaction."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_reco import metrics
from stream_reco.clock import Clock
from stream_reco.config.servers import KafkaSettings
from stream_reco.storage.rocksdb import RocksStore
from topologies.client.cancellation import uninterrupted
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import close, connect
from topologies.partitions.changelog import offsets_of, state_as_committed
from topologies.partitions.input import InputReader, Source
from topologies.partitions.processor import WorkerSpec
from topologies.partitions.transactions import Transactions

_LOGGER = logging.getLogger(__name__)
_TICK_MS = 1000


class PartitionTask:
    """Works on one partition until `ending` is set; whatever fails is raised, and nothing was half done."""

    def __init__(
        self,
        role: WorkerSpec,
        partition: int,
        folder: Path,
        clients: PartitionClients,
        clock: Clock,
        ending: asyncio.Event,
    ) -> None:
        """`folder` is where the store of this partition may be."""
        self._role, self._clients, self._clock, self._ending = role, clients, clock, ending
        self._folder = folder
        self._partition = partition
        self._inputs = role.inputs(partition)
        self._state = TopicPartition(role.state_topic, partition)

    async def run(self) -> None:
        """Open the partition and work; ends after the transaction at hand."""
        async with AsyncExitStack() as left:
            # Whoever had the partition before is fenced here, and what they had begun is over.
            producer = await self._clients.producer(self._partition)
            left.push_async_callback(close, producer)
            readers: dict[TopicPartition, AIOKafkaConsumer] = {}
            for part in self._inputs:
                readers[part] = await self._clients.reader()
                left.push_async_callback(close, readers[part])
            store, offsets = await self._open(readers)
            left.callback(metrics.WORK_LAG.remove, self._role.name, str(self._partition))
            metrics.WORK_LAG.labels(self._role.name, str(self._partition)).set(0)
            left.callback(store.close)
            left.callback(store.flush)
            processor = self._role.processor(self._partition, store)
            # It may wait for other servers, and this must not keep the heart from beating.
            left.push_async_callback(uninterrupted, processor.close)
            (part, reader), *others = readers.items()
            main, beside = Source(reader, part), []
            if others:
                asks = await self._asking()
                left.push_async_callback(close, asks)
                beside = [Source(reader, part, asks) for part, reader in others]
            await self._work(
                InputReader(main, beside),
                Transactions(self._role, self._state, self._clients.group_id, producer, processor, offsets),
            )

    async def _asking(self) -> AIOKafkaConsumer:
        """One that reads nothing, and so is answered at once."""
        asks = await self._clients.consumer()
        asks.assign(self._inputs)
        asks.pause(*self._inputs)
        return asks

    async def _open(
        self, readers: dict[TopicPartition, AIOKafkaConsumer]
    ) -> tuple[RocksStore, dict[TopicPartition, int]]:
        """The store, and the input offsets that follow what it contains; each reader stands at its own."""
        started = perf_counter()
        any_reader = readers[self._inputs[0]]
        store, read = await state_as_committed(self._folder, any_reader, self._state, self._clock.now_ms())
        try:
            known = offsets_of(store, [part.topic for part in self._inputs])
            offsets = {part: await self._seek(reader, part, known[part.topic]) for part, reader in readers.items()}
        except BaseException:
            store.close()
            raise
        metrics.STATE_RESTORED.labels(self._role.name).inc(read)
        _LOGGER.info(
            "%s: partition %d is open at offset %s; %d records of its state were read in %.1f s",
            self._role.name,
            self._partition,
            ", ".join(map(str, offsets.values())),
            read,
            perf_counter() - started,
        )
        return store, offsets

    async def _seek(self, reader: AIOKafkaConsumer, part: TopicPartition, contained: int) -> int:
        """Let the reader stand behind what is contained; returns the offset."""
        offset = contained or await reader.committed(part) or 0
        offset = self._found(part, offset, (await reader.beginning_offsets([part]))[part])
        reader.assign([part])
        reader.seek(part, offset)
        return offset

    def _found(self, part: TopicPartition, offset: int, first: int) -> int:
        """The offset to read from, where the input begins at `first`."""
        if first > offset > 0:
            _LOGGER.error(
                "%s: %d records of %s, partition %d, were deleted before they were read (offsets %d to %d):"
                " the topic's retention is shorter than the work was away",
                self._role.name,
                first - offset,
                part.topic,
                part.partition,
                offset,
                first - 1,
            )
            metrics.WORK_MISSED.labels(self._role.name).inc(first - offset)
        return max(offset, first)

    async def _work(self, reader: InputReader, work: Transactions) -> None:
        ticked, number = 0, str(self._partition)
        while not self._ending.is_set():
            records = await reader.next()
            now, lag = self._clock.now_ms(), await reader.lag()
            metrics.WORK_LAG.labels(self._role.name, number).set(lag or 0)
            if records:
                await work.take(records, now)
            elif lag == 0 and abs(now - ticked) >= _TICK_MS:
                ticked = now
                await work.tick(now)


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
        return await connect(self._kafka, lambda: AIOKafkaConsumer(**arguments))

    async def producer(self, partition: int) -> AIOKafkaProducer:
        """Writes what comes of one input partition; as it starts, it fences whoever did so before."""
        arguments = producer_arguments(self._kafka, f"{self._name}.{partition}")
        return await connect(self._kafka, lambda: AIOKafkaProducer(**arguments))
