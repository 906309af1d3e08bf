"""The inputs of one partition: what was written beside it until a record came is read before that record."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from topologies.partitions.processor import InputRecord

_AT_ONCE = 2000
"""Records that are read at once, and become one transaction."""
_POLL_MS = 200


class Source:
    """One partition of one topic, with a reader of its own, which never waits for what others have to say."""

    def __init__(self, reader: AIOKafkaConsumer, part: TopicPartition, asks: AIOKafkaConsumer | None = None) -> None:
        """`reader` is assigned to `part`, and stands where it is to begin.

        `asks`, which `hold_until` needs, is asked where the partition ends, and must not be reading: behind a read that
        waits for news, a broker answers half a second late.
        """
        self._reader, self._part, self._asks = reader, part, asks
        self._held: deque[InputRecord] = deque()

    async def read(self, timeout_ms: int) -> list[InputRecord]:
        """What is there, in order; waits so long for the first."""
        found = await self._reader.getmany(self._part, timeout_ms=timeout_ms, max_records=_AT_ONCE)
        records: list[InputRecord] = found.get(self._part, [])
        return records

    async def hold_until(self, time: int) -> bool:
        """Hold what had been written when this is called, up to a record later than `time` (ms, the broker's clock).

        False where that is too much at once: `take`, and call it again.
        """
        if self._reaches(time):
            return True
        assert self._asks is not None
        end = (await self._asks.end_offsets([self._part]))[self._part]
        while await self._reader.position(self._part) < end:
            self._held += await self.read(_POLL_MS)
            if self._reaches(time):
                return True
            if len(self._held) >= _AT_ONCE:
                return False
        return True

    def _reaches(self, time: int) -> bool:
        return bool(self._held) and self._held[-1].timestamp > time

    async def hold_what_is_there(self) -> None:
        self._held += await self.read(0)

    def take(self, time: int | None = None) -> list[InputRecord]:
        """What is held and not later than `time`; all of it without."""
        taken = []
        while self._held and (time is None or self._held[0].timestamp <= time):
            taken.append(self._held.popleft())
        return taken

    async def lag(self) -> int | None:
        """Records that are written and not taken; None before the first answer."""
        end: int | None = self._reader.last_stable_offset(self._part)
        if end is None or end < 0:
            return None
        position: int = await self._reader.position(self._part)
        return max(0, end - position) + len(self._held)


class InputReader:
    """Reads `main`, and before each of its records what the sources `beside` it had then.

    Whoever writes to both, and awaits what goes beside first, finds it read first, live and in a backlog alike. A
    broker that does not answer for a source beside holds up `main`.
    """

    def __init__(self, main: Source, beside: Sequence[Source] = ()) -> None:
        self._main, self._beside = main, beside
        self._waiting: list[InputRecord] = []

    async def next(self) -> list[InputRecord]:
        """The next records; none where nothing came for a moment. Those of one source are in their order."""
        records = self._waiting or await self._main.read(_POLL_MS)
        if not records:
            for source in self._beside:
                await source.hold_what_is_there()
            return [record for source in self._beside for record in source.take()]
        time = max(record.timestamp for record in records)
        complete = [await source.hold_until(time) for source in self._beside]
        before = [record for source in self._beside for record in source.take(time)]
        self._waiting = [] if all(complete) else records
        return before if self._waiting else before + records

    async def lag(self) -> int | None:
        """Records that are written and were not returned yet, in all sources; None before the first answers."""
        total = len(self._waiting)
        for source in (self._main, *self._beside):
            lag = await source.lag()
            if lag is None:
                return None
            total += lag
        return total
