"""How long something was idle: stream time less the silences in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from stream_reco.signals.settings import HOUR_MS

LONGEST_GAP_MS = HOUR_MS
"""What a gap between two events counts at most: a site that is awake is never silent for longer, and what is silent for
longer is the pause between an old log and today, a night, or a clock that jumped, in which nobody was idle."""
BEFORE_ALL = -(1 << 62)
_MOST_SILENCES = 4096
"""Each has an hour of active time before it, so that these lie in the last 170 active days; older ones are joined."""

ActiveTimeState = tuple[int, int, list[tuple[int, int]]]
"""The first and the last event time, and the silences; for a checkpoint."""


class _Silences(NamedTuple):
    """Spans [begin, end) of stream time that do not count, in order."""

    begins: list[int]
    ends: list[int]
    before: list[int]
    """What does not count before each, ms."""
    reached: list[int]
    """Active time at each, ms: begin less `before`."""
    total: int
    """What does not count in all, ms."""


def _silences(spans: list[tuple[int, int]]) -> _Silences:
    before, total = [], 0
    for begin, end in spans:
        before.append(total)
        total += end - begin
    begins = [begin for begin, _ in spans]
    reached = [begin - skipped for begin, skipped in zip(begins, before, strict=True)]
    return _Silences(begins, [end for _, end in spans], before, reached, total)


class ActiveTime:
    """Stream time in which a gap between two events that is longer than an hour counts as an hour; times in ms.

    It follows from the events in their order alone: late ones and ticks do not move it. Before its first event there
    is nothing but silence: late events of that time are as old as the first. One that has seen no event counts all of
    stream time. One thread moves it, others may read meanwhile.
    """

    def __init__(self) -> None:
        self._first, self._last = BEFORE_ALL, BEFORE_ALL
        self._silences = _silences([])

    @property
    def first(self) -> int:
        """Time of the first event; `BEFORE_ALL` before it."""
        return self._first

    @property
    def last(self) -> int:
        """Time of the newest event; `BEFORE_ALL` before the first."""
        return self._last

    @property
    def silences(self) -> tuple[int, int]:
        """How many silences there were, and how long they were in all without the hour that counts of each (ms)."""
        return len(self._silences.begins), self._silences.total

    def reach(self, time: int) -> None:
        """An event of this time has come."""
        last = self._last
        if last == BEFORE_ALL:
            self._first = self._last = time
        elif time > last:
            if time - last > LONGEST_GAP_MS:
                self._add(last + LONGEST_GAP_MS, time)
            self._last = time

    def earliest(self, now: int, span: int) -> int:
        """The earliest stream time that is at most `span` of active time before `now`: what is before it is older.

        A very low number where nothing is.
        """
        silences = self._silences
        wanted = self._at(now, silences) - span
        if self._first != BEFORE_ALL and wanted <= self._at(self._first, silences):
            return BEFORE_ALL
        place = bisect_left(silences.reached, wanted)
        return wanted + (silences.before[place] if place < len(silences.before) else silences.total)

    def _at(self, time: int, silences: _Silences) -> int:
        """Active time at a stream time, ms since the epoch as if there had been no silence before the first."""
        if self._last != BEFORE_ALL:
            time = min(time, self._last + LONGEST_GAP_MS)
        place = bisect_right(silences.begins, time) - 1
        if place < 0:
            return time
        return time - silences.before[place] - min(time, silences.ends[place]) + silences.begins[place]

    def _add(self, begin: int, end: int) -> None:
        spans = self._spans()
        if len(spans) == _MOST_SILENCES:
            # What lies between the two only gets younger.
            (first, first_end), (second, second_end) = spans[:2]
            spans[:2] = [(second - (first_end - first), second_end)]
        self._silences = _silences([*spans, (begin, end)])

    def _spans(self) -> list[tuple[int, int]]:
        return list(zip(self._silences.begins, self._silences.ends, strict=True))

    def turn_back(self, time: int) -> None:
        """Forget what is later than `time`: the clock that said so was wrong."""
        if self._last > time:
            self._first, self._last = min(self._first, time), time
            self._silences = _silences([(begin, min(end, time)) for begin, end in self._spans() if begin < time])

    def state(self) -> ActiveTimeState:
        """Everything, for a checkpoint."""
        return self._first, self._last, self._spans()

    def restore(self, state: ActiveTimeState | None, stream_time: int) -> None:
        """Go on from what `state` gave; a checkpoint without it counts what was before `stream_time` as it was."""
        if state is not None:
            self._first, self._last, spans = state
            self._silences = _silences([(begin, end) for begin, end in spans])
        else:
            self._first, self._last = BEFORE_ALL, stream_time if stream_time > 0 else BEFORE_ALL
            self._silences = _silences([])
