"""The items that pass the filters of a request: listed where they are few, a mask over all where they are many.

The lists of the condition that leaves the fewest are read, and of each item there the other conditions are asked. Only
where each leaves too many does one look at all items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stream_reco.retrieve.conditions import Condition
from stream_reco.signals.feature_columns import FeatureColumn
from stream_reco.signals.postings import Codes, Mask, Slots

_FEW_SHARE, _FEWEST = 16, 1024
"""Items are listed where they are no more than one in so many, or no more than that: a look at all takes no longer."""


@dataclass(frozen=True, eq=False)
class PassingItems:
    """Available items, as a list or as a mask."""

    slots: Slots | None
    """int32[n], ascending; None where they are many."""
    mask: Mask = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    """bool[slots], where they are many."""

    @classmethod
    def of_mask(cls, mask: Mask) -> PassingItems:
        """Those that the mask has, listed where they are few."""
        if np.count_nonzero(mask) > few_of(len(mask)):
            return cls(None, mask)
        return cls(np.flatnonzero(mask).astype(np.int32))


def few_of(size: int) -> int:
    """How many of so many slots are few."""
    return max(_FEWEST, size // _FEW_SHARE)


def find_passing(available: Mask, asked: Sequence[tuple[FeatureColumn, Condition]]) -> PassingItems:
    """The `available` bool[slots] items of which all conditions hold, each by its column."""
    shortest = _shortest(asked, few_of(len(available)))
    if shortest is None:
        return PassingItems.of_mask(_mask(available, asked))
    first, codes = shortest
    slots = asked[first][0].postings.slots_of(codes)
    slots = slots[: np.searchsorted(slots, len(available))]
    slots = slots[available[slots]]
    for place, (column, condition) in enumerate(asked):
        if len(slots) and not (place == first and condition.is_exact):
            slots = slots[condition.holds(column, slots)]
    return PassingItems(slots)


def _shortest(asked: Sequence[tuple[FeatureColumn, Condition]], most: int) -> tuple[int, Codes] | None:
    """Which condition, and by which codes, finds the fewest slots, at most so many."""
    counted = []
    for place, (column, condition) in enumerate(asked):
        codes = condition.codes(column, most)
        if codes is not None:
            counted.append((column.postings.count(codes), place, codes))
    return min(counted)[1:] if counted else None


def _mask(available: Mask, asked: Sequence[tuple[FeatureColumn, Condition]]) -> Mask:
    passes = available.copy()
    for column, condition in asked:
        found = condition.holds(column)[: len(passes)]
        passes[: len(found)] &= found
        # Slots behind the last of a column are free, and so not available.
    return passes
