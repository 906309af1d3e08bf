"""One transaction for a batch of input: messages, changes of the state, and the input offsets."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from stream_reco import metrics
from stream_reco.storage.rocksdb import Changes
from topologies.partitions.changelog import INPUT, Position, contained
from topologies.partitions.processor import InputRecord, Output, Processor, WorkerSpec

_QUIET_MS = 1_000
"""How long changes without messages may stay uncommitted; each commit also confirms that the partition is ours."""


class Transactions:
    """Passes the records of one partition to its processor, and commits the results, all or nothing.

    Where a method raises, the store is left as of the last transaction; this object and its processor are spent.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        changelog: TopicPartition,
        group_id: str,
        producer: AIOKafkaProducer,
        processor: Processor,
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        """`offsets`: of the next record to read from each input; they are committed for the group `group_id`."""
        self._spec, self._changelog, self._group_id = spec, changelog, group_id
        self._producer, self._processor = producer, processor
        self._offsets, self._committed = dict(offsets), 0

    async def take(self, records: Sequence[InputRecord], now: int) -> None:
        """Process records that came at `now` (ms, wall clock), and let time pass as far as they show."""
        outputs = self._processor.process(records, now)
        for record in records:
            self._offsets[TopicPartition(record.topic, record.partition)] = record.offset + 1
        metrics.WORK_RECORDS.labels(self._spec.name).inc(len(records))
        await self._pass_time(outputs, now, caught_up=False)

    async def tick(self, now: int) -> None:
        """Let time pass with nothing left to read; commits where there are messages, or once a second."""
        await self._pass_time([], now, caught_up=True)

    async def _pass_time(self, outputs: list[Output], now: int, *, caught_up: bool) -> None:
        outputs += self._processor.advance(now, caught_up=caught_up)
        if outputs or not caught_up or now - self._committed >= _QUIET_MS:
            await self._commit(outputs, now)
        while self._processor.is_behind:
            await self._commit(self._processor.advance(now, caught_up=caught_up), now)

    async def _commit(self, outputs: list[Output], now: int) -> None:
        inputs = contained({part.topic: offset for part, offset in self._offsets.items()})
        changes = {**self._processor.prepare(), INPUT: msgspec.json.encode(inputs)}
        with metrics.WORK_COMMIT_SECONDS.labels(self._spec.name).time():
            async with self._producer.transaction():
                sent = [await self._producer.send(one.topic, one.value, one.key) for one in outputs]
                end = await self._send_changes(changes)
                # The client commits even where a message failed, so failures must be raised before.
                for done in sent:
                    await done
                await self._producer.send_offsets_to_transaction(self._offsets, self._group_id)
        # Only now: a store ahead of its changelog would contain what was never committed.
        self._processor.commit(Position(inputs, end, now).to_bytes())
        self._committed = now

    async def _send_changes(self, changes: Changes) -> int:
        """Send the changes to the changelog topic; returns the offset after the last of them."""
        sent: list[tuple[int, Future[RecordMetadata]]] = []
        batch, count = self._producer.create_batch(), 0
        for key, value in changes.items():
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append((count, await self._send(batch)))
                batch, count = self._producer.create_batch(), 0
                batch.append(key=key, value=value, timestamp=None)
            count += 1
        sent.append((count, await self._send(batch)))
        ends: list[int] = [(await done).offset + count for count, done in sent]
        return max(ends)

    async def _send(self, batch: BatchBuilder) -> Future[RecordMetadata]:
        done: Future[RecordMetadata] = await self._producer.send_batch(
            batch, self._changelog.topic, partition=self._changelog.partition
        )
        return done
