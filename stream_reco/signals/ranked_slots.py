"""The best slots by a key that changes seldom, kept in order while single slots change.

A list keeps more than is asked of it, and remembers the best slot that found no room. As long as it holds enough, a
change costs what the list is long; only where more have left it than it had to spare is all of the catalogue looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SPARE = 4
"""Times as many slots are kept as are asked for: three quarters may leave before all slots are looked at again."""


class RankedSlots(NamedTuple):
    """Several lists. Whoever has the larger `first` comes first; of equals the larger `second`, then the lower slot."""

    slots: NDArray[np.int32]
    """int32[lists, room]"""
    firsts: NDArray[np.float64]
    """float64[lists, room]"""
    seconds: NDArray[np.int64]
    """int64[lists, room]"""
    counts: NDArray[np.int64]
    """int64[lists]: how many each holds."""
    outside: NDArray[np.int32]
    """int32[lists]: the best slot that found no room, −1 where all have."""
    outside_firsts: NDArray[np.float64]
    """float64[lists]: its keys."""
    outside_seconds: NDArray[np.int64]
    """int64[lists]"""


def ranked_slots(lists: int, width: int) -> RankedSlots:
    """Empty lists, which can be asked for `width` slots each."""
    room = _SPARE * width
    return RankedSlots(
        np.empty((lists, room), dtype=np.int32),
        np.empty((lists, room), dtype=np.float64),
        np.empty((lists, room), dtype=np.int64),
        np.zeros(lists, dtype=np.int64),
        np.full(lists, -1, dtype=np.int32),
        np.full(lists, -np.inf),
        np.zeros(lists, dtype=np.int64),
    )


def fill(
    ranked: RankedSlots, row: int, slots: NDArray[np.int32], firsts: NDArray[np.float64], seconds: NDArray[np.int64]
) -> None:
    """Make one of the lists anew from all slots int32[n] that there are, and their keys float64[n] and int64[n]."""
    room = ranked.slots.shape[1]
    order = _best(slots, firsts, seconds, room + 1)
    kept = order[:room]
    ranked.counts[row] = len(kept)
    for array, values in ((ranked.slots, slots), (ranked.firsts, firsts), (ranked.seconds, seconds)):
        array[row, : len(kept)] = values[kept]
    ranked.outside[row] = -1
    if len(order) > room:
        last = order[room]
        ranked.outside[row] = slots[last]
        ranked.outside_firsts[row], ranked.outside_seconds[row] = firsts[last], seconds[last]


def _best(
    slots: NDArray[np.int32], firsts: NDArray[np.float64], seconds: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """int64: places of the best `count`, best first. No more is sorted than that."""
    kept, tied, room = list[NDArray[np.int64]](), np.arange(len(slots)), count
    for key in (firsts, seconds):
        if 0 < room < len(tied):
            values = key[tied]
            bound = np.partition(values, len(values) - room)[len(values) - room]
            kept.append(tied[values > bound])
            tied, room = tied[values == bound], room - len(kept[-1])
    chosen = np.concatenate([*kept, tied[np.argsort(slots[tied], kind="stable")[:room]]])
    best: NDArray[np.int64] = chosen[np.lexsort((slots[chosen], -seconds[chosen], -firsts[chosen]))]
    return best


@njit(cache=True, nogil=True)
def _before(first: float, second: int, slot: int, other_first: float, other_second: int, other_slot: int) -> bool:
    """Whether a slot with these keys comes before another."""
    if first != other_first:
        return first > other_first
    if second != other_second:
        return second > other_second
    return slot < other_slot


@njit(cache=True, nogil=True)
def put_in(ranked: RankedSlots, row: int, slot: int, first: float, second: int) -> None:
    """Put a slot that is not in the list into its place, unless that is behind one that found no room."""
    outside = ranked.outside[row]
    if outside >= 0 and not _before(
        first, second, slot, ranked.outside_firsts[row], ranked.outside_seconds[row], outside
    ):
        return
    slots, firsts, seconds = ranked.slots[row], ranked.firsts[row], ranked.seconds[row]
    count, room = ranked.counts[row], slots.shape[0]
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _before(first, second, slot, firsts[middle], seconds[middle], slots[middle]):
            high = middle
        else:
            low = middle + 1
    if low == room:
        ranked.outside[row], ranked.outside_firsts[row], ranked.outside_seconds[row] = slot, first, second
        return
    if count == room:
        last = room - 1
        ranked.outside[row] = slots[last]
        ranked.outside_firsts[row], ranked.outside_seconds[row] = firsts[last], seconds[last]
        count = last
    for place in range(count, low, -1):
        slots[place], firsts[place], seconds[place] = slots[place - 1], firsts[place - 1], seconds[place - 1]
    slots[low], firsts[low], seconds[low] = slot, first, second
    ranked.counts[row] = count + 1


@njit(cache=True, nogil=True)
def take_out(ranked: RankedSlots, row: int, gone: NDArray[np.bool_]) -> None:
    """Take out the slots that are marked in `gone` bool[slots]."""
    slots, firsts, seconds = ranked.slots[row], ranked.firsts[row], ranked.seconds[row]
    kept = 0
    for place in range(ranked.counts[row]):
        if not gone[slots[place]]:
            slots[kept], firsts[kept], seconds[kept] = slots[place], firsts[place], seconds[place]
            kept += 1
    ranked.counts[row] = kept


def holds_enough(ranked: RankedSlots, row: int, width: int) -> bool:
    """Whether the first `width` of a list are the best of all slots."""
    return bool(ranked.outside[row] < 0 or ranked.counts[row] >= width)
