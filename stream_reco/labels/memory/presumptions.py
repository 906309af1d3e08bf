"""Impressions that are presumed negative after a wait of their own, in the order in which the waits end.

Nothing of it is written: what is due follows from the impressions and from how far presuming has come, which is ahead
of the watermark, because a presumption may be wrong anyway and so need not wait for late events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stream_reco.labels.label.pending import PendingImpression
from stream_reco.labels.memory.calendar_queue import Calendar
from stream_reco.labels.memory.protocol import PRESUMED, Due, Reached, StreamProgress


class Presumptions:
    """What is presumed when."""

    def __init__(
        self, progress: StreamProgress, most_ms: int, impression: Callable[[int, Any], PendingImpression | None]
    ) -> None:
        """Waits end within `most_ms`; `impression` finds one by its seq and by what was given with it."""
        self._progress, self._impression = progress, impression
        self._calendar: Calendar[Any] = Calendar(max(1, most_ms // 1024))

    def add(self, shown: PendingImpression, what: object) -> bool:
        """Let an impression fall due; False where it should have already."""
        entry = presumed_at(shown)
        if entry is None or entry < self._progress.presumed:
            return False
        self._calendar.push(*entry, what)
        return True

    def due(self, before: int) -> Iterator[Due]:
        """Impressions without a label whose wait ends before a time, ms."""
        while (entry := self._calendar.pop_before(before)) is not None:
            time, kind, seq, what = entry
            self._progress.presumed = (time, kind, seq)
            try:
                shown = self._impression(seq, what)
                if shown is not None and shown.label is None:
                    yield time, kind, seq, shown
            finally:
                self._progress.presumed = (time, kind, seq + 1)
        self._progress.presumed = max(self._progress.presumed, (before, -1, -1))

    def __len__(self) -> int:
        return len(self._calendar)


def presumed_at(shown: PendingImpression) -> Reached | None:
    """When an impression with a wait of its own is presumed negative."""
    return None if shown.wait is None else (shown.time + shown.wait, PRESUMED, shown.seq)
