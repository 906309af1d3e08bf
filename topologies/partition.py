"""One input partition, exactly once: what is read, what comes of it and what is remembered become one transaction."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco import metrics
from stream_reco.clock import Clock
from stream_reco.labels.store import Store
from topologies.connecting import let_go
from topologies.partition_clients import PartitionClients
from topologies.role import Role
from topologies.state import position_of, state_as_committed
from topologies.transactions import Transactions

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 2000
"""Records that are read at once, and become one transaction."""
_POLL_MS = 200
_TICK_MS = 1000


class PartitionTask:
    """Works on one partition until `ending` is set; whatever fails is raised, and nothing was half done."""

    def __init__(self, role: Role, partition: int, folder: Path, clients: PartitionClients, clock: Clock,
                 ending: asyncio.Event) -> None:
        """`folder` is where the store of this partition may be."""
        self._role, self._clients, self._clock, self._ending = role, clients, clock, ending
        self._folder = folder
        self._input = TopicPartition(role.input_topic, partition)
        self._state = TopicPartition(role.state_topic, partition)
        self._number = str(partition)

    async def run(self) -> None:
        """Open the partition and work; ends after the transaction at hand."""
        async with AsyncExitStack() as left:
            # Whoever had the partition before is fenced here, and what they had begun is over.
            producer = await self._clients.producer(self._input.partition)
            left.push_async_callback(let_go, producer)
            reader = await self._clients.consumer()
            left.push_async_callback(let_go, reader)
            store, offset = await self._open(reader)
            left.callback(metrics.WORK_LAG.remove, self._role.name, self._number)
            metrics.WORK_LAG.labels(self._role.name, self._number).set(0)
            left.callback(store.close)
            left.callback(store.flush)
            processor = self._role.processor(self._input.partition, store)
            left.callback(processor.close)
            await self._work(reader, Transactions(
                self._role, self._input, self._clients.group_id, producer, processor, offset))

    async def _open(self, reader: AIOKafkaConsumer) -> tuple[Store, int]:
        """The store, and the input offset that follows what it contains; `reader` stands there."""
        started = perf_counter()
        store, read = await state_as_committed(self._folder, reader, self._state, self._clock.now_ms())
        try:
            offset = position_of(store).input or await reader.committed(self._input) or 0
            reader.assign([self._input])
            offset = self._found(offset, (await reader.beginning_offsets([self._input]))[self._input])
            reader.seek(self._input, offset)
        except BaseException:
            store.close()
            raise
        metrics.STATE_RESTORED.labels(self._role.name).inc(read)
        _LOGGER.info("%s: partition %d is open at offset %d; %d records of its state were read in %.1f s",
                     self._role.name, self._input.partition, offset, read, perf_counter() - started)
        return store, offset

    def _found(self, offset: int, first: int) -> int:
        """The offset to read from, where the input begins at `first`."""
        if first > offset > 0:
            _LOGGER.error("%s: %d records of partition %d were deleted before they were read (offsets %d to %d): the"
                          " topic's retention is shorter than the work was away", self._role.name, first - offset,
                          self._input.partition, offset, first - 1)
            metrics.WORK_MISSED.labels(self._role.name).inc(first - offset)
        return max(offset, first)

    async def _work(self, reader: AIOKafkaConsumer, work: Transactions) -> None:
        ticked = 0
        while not self._ending.is_set():
            found = await reader.getmany(self._input, timeout_ms=_POLL_MS, max_records=_AT_ONCE)
            records = found.get(self._input, [])
            now, lag = self._clock.now_ms(), await self._lag(reader)
            metrics.WORK_LAG.labels(self._role.name, self._number).set(lag or 0)
            if records:
                await work.take(records, now)
            elif lag == 0 and abs(now - ticked) >= _TICK_MS:
                ticked = now
                await work.tick(now)

    async def _lag(self, reader: AIOKafkaConsumer) -> int | None:
        """Records that are written and not read; None before the first answer."""
        end = reader.last_stable_offset(self._input)
        return None if end is None or end < 0 else max(0, end - await reader.position(self._input))
