"""Actions that are no longer among a user's newest: kept for what was seen and for the daily clustering."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts

_NO_SLOTS = np.empty(0, dtype=np.int32)
_NO_TIMES = np.empty(0, dtype=np.int64)


class Older:
    """Up to `limit` actions a user's row, the newest of those that it was given."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Slots, times and voices, oldest first, so that what falls off the newest is nearly always an append.
        self._actions: dict[int, tuple[array[int], array[int], array[int]]] = {}

    def keep(self, row: int, slot: int, time: int, voice: int) -> None:
        """Remember an action on an item slot at `time` (ms); of equal times the one that came last is the newest."""
        if self._limit <= 0:
            return
        kept = self._actions.setdefault(row, (array("i"), array("q"), array("q")))
        place = bisect_right(kept[1], time)
        for column, value in zip(kept, (slot, time, voice), strict=True):
            column.insert(place, value)
            if len(column) > self._limit:
                del column[0]

    def of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Slots int32[n], times int64[n] (ms) and voices int64[n], newest first."""
        kept = self._actions.get(row)
        if kept is None:
            return _NO_SLOTS, _NO_TIMES, _NO_TIMES
        slots, times, voices = kept
        return (
            np.array(slots[::-1], dtype=np.int32),
            np.array(times[::-1], dtype=np.int64),
            np.array(voices[::-1], dtype=np.int64),
        )

    def replace(self, row: int, slots: list[int], times: list[int], voices: list[int]) -> None:
        """Have these actions, oldest first, in place of a row's."""
        self._actions.pop(row, None)
        if slots and self._limit > 0:
            self._actions[row] = array("i", slots), array("q", times), array("q", voices)

    def forget(self, row: int) -> None:
        """Forget all of a row."""
        self._actions.pop(row, None)

    def forget_before(self, horizon: int) -> list[int]:
        """Forget actions before `horizon` (ms); returns the rows that had any."""
        rows = [row for row, (_, times, _) in self._actions.items() if times[0] < horizon]
        for row in rows:
            slots, times, voices = self._actions.pop(row)
            first = bisect_left(times, horizon)
            if first < len(slots):
                self._actions[row] = slots[first:], times[first:], voices[first:]
        return rows

    def turn_back(self, time: int) -> None:
        """Take actions later than `time` (ms) as of that time."""
        for _, times, _ in self._actions.values():
            for at in range(bisect_right(times, time), len(times)):
                times[at] = time

    def highest(self) -> int:
        """The highest slot remembered, −1 if there is none."""
        return max((max(slots) for slots, _, _ in self._actions.values()), default=-1)

    def rows_with(self, gone: NDArray[np.bool_]) -> list[int]:
        """Rows with an action on a slot `s` with `gone[s]`."""
        return [row for row, kept in self._actions.items() if gone[np.frombuffer(kept[0], dtype=np.int32)].any()]

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        kept = self._actions.values()
        return {
            "older_rows": np.array(list(self._actions), dtype=np.int64),
            "older_lengths": np.array([len(slots) for slots, _, _ in kept], dtype=np.int64),
            "older_slots": np.frombuffer(b"".join(slots.tobytes() for slots, _, _ in kept), dtype=np.int32),
            "older_times": np.frombuffer(b"".join(times.tobytes() for _, times, _ in kept), dtype=np.int64),
            "older_voices": np.frombuffer(b"".join(voices.tobytes() for _, _, voices in kept), dtype=np.int64),
        }

    def restore(self, parts: Parts) -> None:
        """Become what `state` was taken from; up to version 0.2.0 it had no voices."""
        voices = parts.get("older_voices", np.zeros(len(parts["older_times"]), dtype=np.int64))
        ends = np.cumsum(parts["older_lengths"]).tolist()
        begins = [0, *ends[:-1]]
        for row, begin, end in zip(parts["older_rows"].tolist(), begins, ends, strict=False):
            self._actions[row] = (
                array("i", parts["older_slots"][begin:end].tolist()),
                array("q", parts["older_times"][begin:end].tolist()),
                array("q", voices[begin:end].tolist()),
            )
