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
        # Oldest first, so that what falls off the newest is nearly always an append.
        self._actions: dict[int, tuple[array[int], array[int]]] = {}

    def keep(self, row: int, slot: int, time: int) -> None:
        """Remember an action on an item slot at `time` (ms); of equal times the one that came last is the newest."""
        if self._limit <= 0:
            return
        slots, times = self._actions.setdefault(row, (array("i"), array("q")))
        place = bisect_right(times, time)
        slots.insert(place, slot)
        times.insert(place, time)
        if len(slots) > self._limit:
            del slots[0], times[0]

    def of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[n] and times int64[n] (ms), newest first."""
        kept = self._actions.get(row)
        if kept is None:
            return _NO_SLOTS, _NO_TIMES
        return np.array(kept[0], dtype=np.int32)[::-1], np.array(kept[1], dtype=np.int64)[::-1]

    def pop(self, row: int) -> tuple[int, int] | None:
        """Take the newest action of a row out: its slot and time."""
        kept = self._actions.get(row)
        if kept is None:
            return None
        action = kept[0].pop(), kept[1].pop()
        if not kept[0]:
            del self._actions[row]
        return action

    def forget(self, row: int) -> None:
        """Forget all of a row."""
        self._actions.pop(row, None)

    def forget_before(self, horizon: int) -> None:
        """Forget actions before `horizon` (ms)."""
        for row in [row for row, (_, times) in self._actions.items() if times[0] < horizon]:
            slots, times = self._actions[row]
            first = bisect_left(times, horizon)
            self._set(row, slots[first:], times[first:])

    def turn_back(self, time: int) -> None:
        """Take actions later than `time` (ms) as of that time."""
        for _, times in self._actions.values():
            for at in range(bisect_right(times, time), len(times)):
                times[at] = time

    def forget_items(self, gone: NDArray[np.bool_]) -> None:
        """Forget actions on every slot `s` with `gone[s]`."""
        for row in list(self._actions):
            slots, times = self._actions[row]
            lost = gone[np.frombuffer(slots, dtype=np.int32)]
            if lost.any():
                stay = np.flatnonzero(~lost).tolist()
                self._set(row, array("i", [slots[at] for at in stay]), array("q", [times[at] for at in stay]))

    def _set(self, row: int, slots: array[int], times: array[int]) -> None:
        if slots:
            self._actions[row] = slots, times
        else:
            del self._actions[row]

    def highest(self) -> int:
        """The highest slot remembered, −1 if there is none."""
        return max((max(slots) for slots, _ in self._actions.values()), default=-1)

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        kept = self._actions.values()
        return {
            "older_rows": np.array(list(self._actions), dtype=np.int64),
            "older_lengths": np.array([len(slots) for slots, _ in kept], dtype=np.int64),
            "older_slots": np.frombuffer(b"".join(slots.tobytes() for slots, _ in kept), dtype=np.int32),
            "older_times": np.frombuffer(b"".join(times.tobytes() for _, times in kept), dtype=np.int64),
        }

    def restore(self, parts: Parts) -> None:
        """Become what `state` was taken from."""
        ends = np.cumsum(parts["older_lengths"]).tolist()
        begins = [0, *ends[:-1]]
        for row, begin, end in zip(parts["older_rows"].tolist(), begins, ends, strict=False):
            self._actions[row] = (
                array("i", parts["older_slots"][begin:end].tolist()),
                array("q", parts["older_times"][begin:end].tolist()),
            )
