"""The inputs of one partition: side inputs written before a record of the main input are read before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from topologies.client.unread import unread
from topologies.partitions.processor import InputRecord

_BATCH_RECORDS = 2000
"""At most in one read, which becomes one transaction."""
_POLL_MS = 200


class Source:
    """One partition of one topic, with a consumer of its own, so that no other partition delays its reads."""

    def __init__(
        self, reader: AIOKafkaConsumer, part: TopicPartition, end_offsets_client: AIOKafkaConsumer | None = None
    ) -> None:
        """`reader` is assigned to `part`, at the offset to begin with.

        `end_offsets_client`, which `hold_until` needs, asks the broker where the partition ends. It must not read
        itself: a broker answers the requests of one connection in turn, and a fetch that waits for records delays the
        next answer by half a second.
        """
        self._reader, self._part, self._end_offsets_client = reader, part, end_offsets_client
        self._held: deque[InputRecord] = deque()

    async def read(self, timeout_ms: int) -> list[InputRecord]:
        """The next records, in order; waits at most `timeout_ms` for the first."""
        found = await self._reader.getmany(self._part, timeout_ms=timeout_ms, max_records=_BATCH_RECORDS)
        records: list[InputRecord] = found.get(self._part, [])
        return records

    async def hold_until(self, time: int) -> bool:
        """Read what was written before this call, up to a record later than `time` (ms, the broker's clock).

        False where that is more than one batch: `take`, and call it again.
        """
        if self._reaches(time):
            return True
        assert self._end_offsets_client is not None
        end = (await self._end_offsets_client.end_offsets([self._part]))[self._part]
        while await self._reader.position(self._part) < end:
            self._held += await self.read(_POLL_MS)
            if self._reaches(time):
                return True
            if len(self._held) >= _BATCH_RECORDS:
                return False
        return True

    def _reaches(self, time: int) -> bool:
        return bool(self._held) and self._held[-1].timestamp > time

    async def hold_available(self) -> None:
        """Read into memory what can be had without waiting."""
        self._held += await self.read(0)

    def take(self, time: int | None = None) -> list[InputRecord]:
        """The records in memory that are not later than `time`; all of them without."""
        taken = []
        while self._held and (time is None or self._held[0].timestamp <= time):
            taken.append(self._held.popleft())
        return taken

    async def lag(self) -> int | None:
        """Records written and not taken (see `unread`); None before the broker's first answer."""
        lag = await unread(self._reader, self._part)
        return None if lag is None else lag + len(self._held)


class InputReader:
    """Reads `main`, and before each of its records what the side inputs held at that time.

    A producer that writes to a side input first, awaits that, and then writes to `main`, finds them read in that order,
    live and in a backlog alike. A broker that does not answer for a side input holds up `main`.
    """

    def __init__(self, main: Source, side_inputs: Sequence[Source] = ()) -> None:
        self._main, self._side_inputs = main, side_inputs
        self._pending: list[InputRecord] = []

    async def next(self) -> list[InputRecord]:
        """The next records; none where none came within 200 ms. Those of one source are in their order."""
        records = self._pending or await self._main.read(_POLL_MS)
        if not records:
            for source in self._side_inputs:
                await source.hold_available()
            return [record for source in self._side_inputs for record in source.take()]
        time = max(record.timestamp for record in records)
        complete = [await source.hold_until(time) for source in self._side_inputs]
        before = [record for source in self._side_inputs for record in source.take(time)]
        self._pending = [] if all(complete) else records
        return before if self._pending else before + records

    async def lag(self) -> int | None:
        """Records written and not returned yet, in all sources; None before the first answers."""
        total = len(self._pending)
        for source in (self._main, *self._side_inputs):
            lag = await source.lag()
            if lag is None:
                return None
            total += lag
        return total
