"""The watermarks of several source partitions, and the one of all that are merged.

Event times come from producers and arrival times from a wall clock; both may jump. An event time is taken as it is,
because the future bound is judged where events enter: a producer ahead of the clock by less than the bound moves its
own partition alone, and what others send to that partition meanwhile is late by at most the bound. Arrival times only
measure how long a partition has been silent, as far as silence was observed: see `_Arrivals`.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from stream_reco.labels.settings import check_idle, check_lateness

Partition = int | str

NEVER = -(2**63)
"""The time of what has not spoken yet; part of the state, so that it must stay as it is."""
_LIVE_MS = 3_600_000


class WatermarksState(msgspec.Struct, array_like=True, frozen=True):
    """Watermarks in a checkpoint; times in ms, NEVER where there is none yet, before the lateness is taken off."""

    lateness_ms: int
    idle_ms: int
    merged: int
    times: tuple[tuple[Partition, int], ...]


class _Source:
    """One partition: the stream time it reached, and how much time had passed when it last spoke (both ms)."""

    __slots__ = ("heard", "time")

    def __init__(self, time: int, heard: int) -> None:
        self.time, self.heard = time, heard


class _Arrivals:
    """How much arrival time has passed, in ms since the first arrival, whatever the wall clock does.

    One step forward counts `most` at most: after a suspension or a jump every partition still has most of its time to
    speak. A step back counts nothing; the clock must make up for it unless it is larger than `back`, for then it was
    wrong before and may not come there again for years.
    """

    __slots__ = ("_back", "_most", "_now", "passed")

    def __init__(self, most: int, back: int) -> None:
        self.passed = 0
        self._now: int | None = None
        self._most, self._back = most, back

    def hear(self, now: int) -> None:
        if self._now is None or now < self._now - self._back:
            self._now = now
        elif now > self._now:
            self.passed += min(now - self._now, self._most)
            self._now = now


class Watermarks:
    """How far event time has come in each of several partitions and in all of them merged; times in ms.

    A watermark is the highest event time seen less `lateness_ms`, so that it can be given to `LabelJoiner.advance`.
    A partition from which nothing came for `idle_ms` of arrival time is idle: it does not hold the others back, and
    what it brings later is late, no more. Every `now` is the caller's wall clock: the calls must go on
    while nothing comes (with every poll, say), because the time between two of them counts a quarter of `idle_ms` at
    most. From `assign` to `revoke` no watermark goes back; the merged one never does. Raises ValueError where a setting
    makes no sense, and wherever a partition is not assigned.
    """

    def __init__(self, lateness_ms: int = 60_000, idle_ms: int = 60_000) -> None:
        check_lateness(lateness_ms)
        check_idle(idle_ms)
        self.lateness_ms, self.idle_ms = lateness_ms, idle_ms
        self._sources: dict[Partition, _Source] = {}
        self._arrivals = _Arrivals(most=-(-idle_ms // 4), back=idle_ms)
        self._merged = NEVER

    def assign(self, partition: Partition) -> None:
        """Begin to wait for a partition, until it is idle; one that is assigned already stays as it is."""
        if partition not in self._sources:
            self._sources[partition] = _Source(NEVER, self._arrivals.passed)

    def revoke(self, partition: Partition) -> None:
        """Forget a partition: if it comes back, it is read from what was committed, and its time with it."""
        self._source(partition)
        del self._sources[partition]

    def observe(self, partition: Partition, timestamp: int, now: int) -> None:
        """Take the event time of an event that came from `partition` at `now`."""
        source = self._source(partition)
        self._arrivals.hear(now)
        source.heard = self._arrivals.passed
        if timestamp > source.time:
            source.time = timestamp

    def tick(self, now: int, behind: Collection[Partition] = ()) -> None:
        """Let time reach `now` without an event where the stream is live: within an hour of the wall clock.

        Liveness and what follows are each partition's own: one that is further behind reads its backlog, and only its
        events move it. But where any is live, one that is idle has no backlog and is moved too, and one that never
        spoke has no time to move. `behind`: partitions known to have events that were not read yet, after a restart,
        say; they are not moved, for those events would be late.
        """
        for partition in behind:
            self._source(partition)
        self._arrivals.hear(now)
        spoken = {partition: source for partition, source in self._sources.items() if source.time != NEVER}
        if not any(_is_live(source, now) for source in spoken.values()):
            return
        for partition in spoken.keys() - set(behind):
            source = spoken[partition]
            if _is_live(source, now) or self._is_idle(source):
                source.time = max(source.time, now)

    def of(self, partition: Partition) -> int | None:
        """The watermark of one partition; None before its first event."""
        return self._less_lateness(self._source(partition).time)

    def merged(self, now: int) -> int | None:
        """The lowest watermark of the partitions that are not idle at `now`, and never lower than before.

        One that never spoke holds all back until it is idle: None where there was no merged watermark before. Where all
        are idle, nothing is left to wait for: it is the highest that any has reached.
        """
        self._arrivals.hear(now)
        awake = [source.time for source in self._sources.values() if not self._is_idle(source)]
        time = min(awake) if awake else max((source.time for source in self._sources.values()), default=NEVER)
        self._merged = max(self._merged, time)
        return self._less_lateness(self._merged)

    def state(self) -> WatermarksState:
        """What a restart needs, settings included; commit it together with what was labelled up to it."""
        times = tuple((partition, source.time) for partition, source in self._sources.items())
        return WatermarksState(self.lateness_ms, self.idle_ms, self._merged, times)

    @classmethod
    def from_state(cls, state: WatermarksState) -> Watermarks:
        """The inverse of `state`, but nobody is idle: each may have events from the time in between."""
        marks = cls(state.lateness_ms, state.idle_ms)
        marks._sources = {partition: _Source(time, 0) for partition, time in state.times}
        marks._merged = state.merged
        return marks

    def _source(self, partition: Partition) -> _Source:
        source = self._sources.get(partition)
        if source is None:
            known = ", ".join(map(repr, list(self._sources)[:5])) + (", …" if len(self._sources) > 5 else "")
            raise ValueError(
                f"the partition {partition!r} is unknown: it was not assigned, or was revoked since, so it has no "
                f"watermark; call assign({partition!r}) first (assigned now: {known or 'none'})"
            )
        return source

    def _is_idle(self, source: _Source) -> bool:
        return self._arrivals.passed - source.heard >= self.idle_ms

    def _less_lateness(self, time: int) -> int | None:
        return None if time == NEVER else time - self.lateness_ms


def _is_live(source: _Source, now: int) -> bool:
    return abs(now - source.time) <= _LIVE_MS
