"""Where the entries of items are, one item's behind the other: a run is written once and read by all who hold it.

The learner and the replica of one process say the same of nearly every item, so they share the runs; each knows for
itself which run an item has. A run that somebody holds is never written again, so that requests read while the learner
appends.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.growing import capacity_for, grown

_SPARE = 4096
"""Entries are packed when so many more than half of them are of what items said once."""


class EntryHolder(Protocol):
    """Knows runs by where they start and how long they are."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]

    def follow_store(self) -> None:
        """Take note that the arrays of the store are others than they were."""

    def move(self, kept: NDArray[np.int64], moved: NDArray[np.int32]) -> None:
        """Take note that entry n is entry `moved[n]` now, and that entries came from `kept`."""


class EntryStore:
    """The arrays of `Entries` that are by entry."""

    def __init__(self) -> None:
        self.fields = np.zeros(1024, dtype=np.int16)
        self.codes = np.zeros(1024, dtype=np.int64)
        self.counts = np.zeros(1024, dtype=np.int8)
        self.written = 0
        """Entries so far, with those that nobody holds any more."""
        self.in_use = 0
        """Entries of the items of whoever made it."""
        self._kept = 0
        """Entries that were held when it was packed."""
        self._holders: WeakSet[EntryHolder] = WeakSet()

    @property
    def arrays(self) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int8]]:
        return self.fields, self.codes, self.counts

    @property
    def by_name(self) -> dict[str, NDArray[Any]]:
        """The same by their names in `Entries`."""
        return {"fields": self.fields, "codes": self.codes, "counts": self.counts}

    def add_holder(self, holder: EntryHolder) -> None:
        """Keep the runs of a further holder as well, for as long as it lives."""
        self._holders.add(holder)

    @property
    def is_shared(self) -> bool:
        """Whether there are several holders."""
        return len(self._holders) > 1

    @property
    def is_wasteful(self) -> bool:
        """Whether most of it is of what items said once."""
        return self.written > 2 * max(self.in_use, self._kept) + _SPARE

    def make_room(self, entries: int) -> None:
        """For so many more entries."""
        size = self.written + entries
        if size > len(self.codes):
            room = capacity_for(size, len(self.codes))
            self.fields, self.codes = grown(self.fields, room, 0), grown(self.codes, room, 0)
            self.counts = grown(self.counts, room, 0)

    def pack(self) -> None:
        """Leave out what nobody holds any more; nobody may read meanwhile."""
        holders = [*self._holders]
        held = [np.flatnonzero(one.lengths) for one in holders]
        starts = np.concatenate([one.starts[slots] for one, slots in zip(holders, held, strict=True)])
        lengths = np.concatenate([one.lengths[slots] for one, slots in zip(holders, held, strict=True)])
        starts, first = np.unique(starts, return_index=True)
        counts = lengths[first].astype(np.int64)
        ends = np.cumsum(counts)
        kept = np.repeat(starts - (ends - counts), counts) + np.arange(int(ends[-1]) if len(ends) else 0)
        moved = np.zeros(self.written, dtype=np.int32)
        moved[kept] = np.arange(len(kept), dtype=np.int32)
        by_entry: tuple[NDArray[Any], ...] = self.arrays
        for array in by_entry:
            array[: len(kept)] = array[kept]
        self.written = self._kept = len(kept)
        for one, slots in zip(holders, held, strict=True):
            one.follow_store()
            one.starts[slots] = moved[one.starts[slots]]
            one.move(kept, moved)
