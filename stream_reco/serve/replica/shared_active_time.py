"""Active time as one process notes it beside the states of users, and as others follow it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stream_reco.signals.active_time import BEFORE_ALL, ActiveTime

REACHED, SILENCES = "reached", "silences"
"""Names of the two notes: the first changes with each event and is small, the second with each silence."""
_Reached = tuple[int, int, int, int]
"""The first and the last event time (ms), how many silences there are, and how long they are in all (ms)."""
_Spans = list[tuple[int, int]]


class ActiveTimeNotes:
    """What of active time is to be noted since the last time."""

    def __init__(self, active_time: ActiveTime) -> None:
        self._active_time = active_time
        self._noted: tuple[int, int] | None = None
        self._last = BEFORE_ALL

    @property
    def is_behind(self) -> bool:
        """Whether an event has come since the last time."""
        return self._last != self._active_time.last

    def changed(self) -> dict[str, bytes]:
        """Notes by name."""
        first, last, spans = self._active_time.first, self._active_time.last, self._active_time.silences
        self._last = last
        notes = {REACHED: msgspec.msgpack.encode((first, last, *spans))}
        if spans != self._noted:
            notes[SILENCES] = msgspec.msgpack.encode(self._active_time.state()[2])
            self._noted = spans
        return notes

    def forget(self) -> None:
        """All of it is to be noted anew."""
        self._noted, self._last = None, BEFORE_ALL


class FollowedActiveTime:
    """Gives active time as it was noted last; where that cannot be read, as it was read last. Never raises."""

    def __init__(self, note: Callable[[str], bytes | None]) -> None:
        """`note` reads a note by name and raises OSError where it is unavailable."""
        self._note = note
        self._reached: bytes | None = None
        self._silences: tuple[tuple[int, int], _Spans] = (0, 0), []
        self._now = ActiveTime()

    def __call__(self) -> ActiveTime:
        try:
            reached = self._note(REACHED)
            if reached is not None and reached != self._reached:
                first, last, *silences = msgspec.msgpack.decode(reached, type=_Reached)
                count, total = silences
                if (count, total) != self._silences[0]:
                    spans = msgspec.msgpack.decode(self._note(SILENCES) or b"\x90", type=_Spans)
                    self._silences = (len(spans), sum(end - begin for begin, end in spans)), spans
                now = ActiveTime()
                now.restore((first, last, self._silences[1]), last)
                self._reached, self._now = reached, now
        except (OSError, msgspec.MsgspecError):
            pass
        return self._now
