"""One input partition, processed exactly once: offsets, messages and state changes are committed together."""

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
from topologies.partitions.changelog import offsets_of, restore_store
from topologies.partitions.input import InputReader, Source
from topologies.partitions.processor import WorkerSpec
from topologies.partitions.transactions import Transactions

_LOGGER = logging.getLogger(__name__)
_TICK_MS = 1000


class PartitionTask:
    """Works on one partition until `ending` is set; raises where a step fails, and then nothing of it is committed."""

    def __init__(
        self,
        spec: WorkerSpec,
        partition: int,
        folder: Path,
        clients: PartitionClients,
        clock: Clock,
        ending: asyncio.Event,
    ) -> None:
        """`folder` holds the store of this partition."""
        self._spec, self._clients, self._clock, self._ending = spec, clients, clock, ending
        self._folder = folder
        self._partition = partition
        self._inputs = spec.inputs(partition)
        self._changelog = TopicPartition(spec.changelog_topic, partition)

    async def run(self) -> None:
        """Open the partition and work; returns after the open transaction is committed."""
        async with AsyncExitStack() as stack:
            # This fences the previous owner of the partition and aborts its open transaction.
            producer = await self._clients.producer(self._partition)
            stack.push_async_callback(close, producer)
            readers: dict[TopicPartition, AIOKafkaConsumer] = {}
            for part in self._inputs:
                readers[part] = await self._clients.reader()
                stack.push_async_callback(close, readers[part])
            store, offsets = await self._open(readers)
            stack.callback(metrics.WORK_LAG.remove, self._spec.name, str(self._partition))
            metrics.WORK_LAG.labels(self._spec.name, str(self._partition)).set(0)
            stack.callback(store.close)
            stack.callback(store.flush)
            processor = self._spec.processor(self._partition, store)
            # It may wait for other servers, which must not block the event loop and its heartbeats.
            stack.push_async_callback(uninterrupted, processor.close)
            (part, reader), *others = readers.items()
            main, side_inputs = Source(reader, part), []
            if others:
                end_offsets_client = await self._end_offsets_client()
                stack.push_async_callback(close, end_offsets_client)
                side_inputs = [Source(reader, part, end_offsets_client) for part, reader in others]
            await self._work(
                InputReader(main, side_inputs),
                Transactions(self._spec, self._changelog, self._clients.group_id, producer, processor, offsets),
            )

    async def _end_offsets_client(self) -> AIOKafkaConsumer:
        """A consumer that never fetches, so that brokers answer it at once."""
        client = await self._clients.consumer()
        client.assign(self._inputs)
        client.pause(*self._inputs)
        return client

    async def _open(
        self, readers: dict[TopicPartition, AIOKafkaConsumer]
    ) -> tuple[RocksStore, dict[TopicPartition, int]]:
        """The store, and the input offsets that follow what it contains, to which the readers have sought."""
        started = perf_counter()
        any_reader = readers[self._inputs[0]]
        store, read = await restore_store(self._folder, any_reader, self._changelog, self._clock.now_ms())
        try:
            known = offsets_of(store, [part.topic for part in self._inputs])
            offsets = {part: await self._seek(reader, part, known[part.topic]) for part, reader in readers.items()}
        except BaseException:
            store.close()
            raise
        metrics.STATE_RESTORED.labels(self._spec.name).inc(read)
        _LOGGER.info(
            "%s: partition %d is open at offset %s; %d records of its state were read in %.1f s",
            self._spec.name,
            self._partition,
            ", ".join(map(str, offsets.values())),
            read,
            perf_counter() - started,
        )
        return store, offsets

    async def _seek(self, reader: AIOKafkaConsumer, part: TopicPartition, contained: int) -> int:
        """Seek to the first record that is not contained; returns its offset."""
        offset = contained or await reader.committed(part) or 0
        offset = self._start_offset(part, offset, (await reader.beginning_offsets([part]))[part])
        reader.assign([part])
        reader.seek(part, offset)
        return offset

    def _start_offset(self, part: TopicPartition, offset: int, first: int) -> int:
        """The offset to read from, where the input begins at `first`."""
        if first > offset > 0:
            _LOGGER.error(
                "%s: %d records of %s, partition %d, were deleted before they were read (offsets %d to %d):"
                " the topic's retention is shorter than the work was away",
                self._spec.name,
                first - offset,
                part.topic,
                part.partition,
                offset,
                first - 1,
            )
            metrics.WORK_MISSED.labels(self._spec.name).inc(first - offset)
        return max(offset, first)

    async def _work(self, reader: InputReader, work: Transactions) -> None:
        ticked, number = 0, str(self._partition)
        while not self._ending.is_set():
            records = await reader.next()
            now, lag = self._clock.now_ms(), await reader.lag()
            metrics.WORK_LAG.labels(self._spec.name, number).set(lag or 0)
            if records:
                await work.take(records, now)
            elif lag == 0 and abs(now - ticked) >= _TICK_MS:
                ticked = now
                await work.tick(now)


class PartitionClients:
    """Makes the clients of one kind of worker, called `name`; waits for a Kafka that is unavailable."""

    def __init__(self, kafka: KafkaSettings, name: str) -> None:
        self._kafka, self._name = kafka, name

    @property
    def group_id(self) -> str:
        """The consumer group's id in Kafka, prefix included."""
        return f"{self._kafka.prefix}.{self._name}"

    async def consumer(self) -> AIOKafkaConsumer:
        """Joins the group once it subscribes, or asks about what it is assigned by hand."""
        return await self._connected_consumer(gaps=True)

    async def reader(self) -> AIOKafkaConsumer:
        """Reads committed records; to be assigned by hand, followed at once by a seek.

        Reading raises OffsetOutOfRangeError where retention has deleted the next record.
        """
        return await self._connected_consumer(gaps=False)

    async def _connected_consumer(self, *, gaps: bool) -> AIOKafkaConsumer:
        arguments = consumer_arguments(self._kafka, self._name, gaps=gaps)
        return await connect(self._kafka, lambda: AIOKafkaConsumer(**arguments))

    async def producer(self, partition: int) -> AIOKafkaProducer:
        """Writes the results of one input partition; its start fences the partition's previous producer."""
        arguments = producer_arguments(self._kafka, f"{self._name}.{partition}")
        return await connect(self._kafka, lambda: AIOKafkaProducer(**arguments))
