"""The items that one user was shown and has not acted on since, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Literal

import numpy as np

MOST_ITEMS = 200
"""Items remembered of a user, at 14 bytes each (22 by keys): twenty slates of ten. What was shown longest ago goes."""
_MOST_TIMES = 2**16 - 1
"""A count stays there: two bytes hold no more."""


class ShownItems:
    """How often each item was shown and when last (ms), in the order in which they were shown last."""

    __slots__ = ("counts", "items", "times")

    def __init__(self, kind: Literal["i", "q"] = "q") -> None:
        """`kind` is the type code of the items: slots are `i`, keys are `q`."""
        self.items = array(kind)
        self.counts = array("H")
        self.times = array("q")

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: int, now: int) -> None:
        """Count an impression at `now`, ms; a late one counts, and changes no time."""
        count, last = self.remove(item)
        self.items.append(item)
        self.counts.append(min(count + 1, _MOST_TIMES))
        self.times.append(max(last, now))
        if len(self.items) > MOST_ITEMS:
            del self.items[0], self.counts[0], self.times[0]

    def remove(self, item: int) -> tuple[int, int]:
        """Take an item out: the user has acted on it. Returns how often it was shown and when last, 0 if it was not."""
        if item not in self.items:
            return 0, 0
        at = self.items.index(item)
        del self.items[at]
        return self.counts.pop(at), self.times.pop(at)

    def remove_all(self, items: Iterable[int]) -> None:
        """Take several out."""
        for item in items:
            self.remove(item)

    def turn_back(self, time: int) -> None:
        """Take impressions later than `time` (ms) as of that time."""
        for at, last in enumerate(self.times):
            self.times[at] = min(last, time)

    @property
    def newest(self) -> int:
        """When anything was shown last, ms; 0 where nothing was."""
        return max(self.times, default=0)

    def to_bytes(self) -> tuple[bytes, bytes, bytes]:
        """Items as int64, counts as uint16 and times as int64, all little-endian."""
        columns = (self.items, "<i8"), (self.counts, "<u2"), (self.times, "<i8")
        items, counts, times = (np.array(column, dtype=kind).tobytes() for column, kind in columns)
        return items, counts, times

    @classmethod
    def from_bytes(cls, items: bytes, counts: bytes, times: bytes, kind: Literal["i", "q"] = "q") -> ShownItems:
        """What `to_bytes` gave. Raises ValueError for anything else."""
        shown = cls(kind)
        shown.items.extend(np.frombuffer(items, "<i8").tolist())
        shown.counts.extend(np.frombuffer(counts, "<u2").tolist())
        shown.times.extend(np.frombuffer(times, "<i8").tolist())
        lengths = len(shown.items), len(shown.counts), len(shown.times)
        if len(set(lengths)) > 1:
            raise ValueError(f"items, counts and times of what was shown have lengths {lengths}: they must match")
        return shown
