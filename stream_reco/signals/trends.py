"""What is popular at this moment: trending lists, what was shown least, and the distribution of negatives.

Decay takes the same share of every count of one half-life, so it changes no order: log₂ of a count plus its time in
half-lives is a key that stays as it is until something is counted of the item. So lists are kept by that key, and
renewing them costs what has changed and what is active, however large the catalogue is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.counters import DECAY_RATES, LONGEST_SHOWN, Counters
from stream_reco.signals.ranked_slots import RankedSlots, fill, holds_enough, put_in, ranked_slots, take_out
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS

ACTIVITY = ACTION_HALF_LIVES_MS.index(86_400_000)
"""Column of the decayed counter that says how active an item is."""
_KINDS = len(ACTION_HALF_LIVES_MS)
_NEGLIGIBLE = 1e-3
"""Decayed actions (half-life a day) at or below which an item is not active: one action of ten days ago."""
_MOST_ACTIVE = 60.0
"""log₂ of the most decayed actions that are believed: a time from the future must not make infinities."""
_NOBODY = np.empty(0, dtype=np.int32), np.empty(0)
"""No active slots and no keys."""
_LEAST_TRENDING = -126.0
"""log₂ of the least decayed count in a trending list, the least normal float32."""
_MANY = 4
"""Where more than one slot in so many has changed, lists are made anew instead."""


class Trends(NamedTuple):
    """Lists that are renewed now and then, not on each event: exponential decay keeps their order in between."""

    trending: NDArray[np.int32]
    """int32[half-lives, width]: slots with the largest decayed counts, −1 behind the last."""
    fresh: NDArray[np.int32]
    """int32[width]: the available slots that were shown least, the newest of equals first, −1 behind the last."""
    active: NDArray[np.int32]
    """int32[n]: slots that were acted on lately, ascending."""
    cumulative: NDArray[np.float64]
    """float64[n]: running sum of √activity of the active slots."""
    chances: NDArray[np.float32]
    """float32[slots]: √activity of each slot divided by their sum."""


def no_trends(width: int, fresh_width: int) -> Trends:
    """The trends before the first event."""
    none = np.empty(0, dtype=np.int32)
    return Trends(
        np.full((_KINDS, width), -1, dtype=np.int32),
        np.full(fresh_width, -1, dtype=np.int32),
        none,
        np.empty(0, dtype=np.float64),
        np.empty(0, dtype=np.float32),
    )


class TrendFinder:
    """Finds the trends of counters, from what it found before and the slots that have changed since.

    The result depends on the counters alone: one that begins anew finds the same to the bit.
    """

    def __init__(self, width: int, fresh_width: int) -> None:
        """`width` and `fresh_width`: lengths of `Trends.trending` and `Trends.fresh`."""
        self._width, self._fresh_width = width, fresh_width
        self.begin_anew()

    def begin_anew(self) -> None:
        """Look at all slots the next time, whichever have changed."""
        self._trending = ranked_slots(_KINDS, self._width)
        self._fresh = ranked_slots(1, self._fresh_width)
        self._active = _NOBODY
        self._found: int | None = None

    def find(
        self, counters: Counters, available: NDArray[np.bool_], size: int, now: int, changed: NDArray[np.bool_]
    ) -> Trends:
        """Trends of the first `size` slots at `now` (ms).

        `changed` bool[slots]: those of which anything was counted, or which came, left or are available no longer,
        since the call before.
        """
        if size == 0:
            return no_trends(self._width, self._fresh_width)
        slots = np.flatnonzero(changed[:size]).astype(np.int32)
        if self._found is None or now < self._found or _MANY * len(slots) > size:
            slots = self._look_at_all(counters, available, size)
        else:
            _change(self._trending, self._fresh, counters, available, slots, changed)
            self._fill_up(counters, available, size)
        self._found = now
        active, keys, weights = _activities(counters, available, self._active, slots, now)
        self._active = active, keys
        cumulative = np.cumsum(weights, dtype=np.float64)
        chances = np.zeros(size, dtype=np.float32)
        if len(active):
            chances[active] = weights / np.float32(cumulative[-1])
        return Trends(self._trending_at(now), self._shown_least(), active, cumulative, chances)

    def _look_at_all(self, counters: Counters, available: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Make all lists anew; returns the slots that may be active."""
        counted = _counted(counters, available, size)
        for kind in range(_KINDS):
            _fill_trending(self._trending, kind, counters, counted)
        _fill_fresh(self._fresh, counters, available, size)
        self._active = _NOBODY
        return counted

    def _fill_up(self, counters: Counters, available: NDArray[np.bool_], size: int) -> None:
        """Make those lists anew that too many have left."""
        short = [kind for kind in range(_KINDS) if not holds_enough(self._trending, kind, self._width)]
        if short:
            counted = _counted(counters, available, size)
            for kind in short:
                _fill_trending(self._trending, kind, counters, counted)
        if not holds_enough(self._fresh, 0, self._fresh_width):
            _fill_fresh(self._fresh, counters, available, size)

    def _trending_at(self, now: int) -> NDArray[np.int32]:
        result = np.full((_KINDS, self._width), -1, dtype=np.int32)
        for kind in range(_KINDS):
            count = min(int(self._trending.counts[kind]), self._width)
            # Keys fall along the list: what has decayed away is at its end.
            alive = self._trending.firsts[kind, :count] >= _LEAST_TRENDING + now * DECAY_RATES[kind]
            count = int(np.count_nonzero(alive))
            result[kind, :count] = self._trending.slots[kind, :count]
        return result

    def _shown_least(self) -> NDArray[np.int32]:
        result = np.full(self._fresh_width, -1, dtype=np.int32)
        count = min(int(self._fresh.counts[0]), self._fresh_width)
        result[:count] = self._fresh.slots[0, :count]
        return result


def _counted(counters: Counters, available: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
    """Available slots of which anything was counted: most of a large catalogue have nothing."""
    return np.flatnonzero(counters.numbers[:size] * available[:size]).astype(np.int32)


@njit(cache=True, nogil=True)
def _key(counters: Counters, slot: int, column: int) -> float:
    """What orders the counts of a half-life at any time; −∞ where nothing is counted."""
    count = counters.decayed[counters.numbers[slot], column]
    return math.log2(count) + counters.stamps[slot] * DECAY_RATES[column] if count > 0.0 else -math.inf


@njit(cache=True, nogil=True)
def _keys(counters: Counters, slots: NDArray[np.int32], column: int) -> NDArray[np.float64]:
    keys = np.empty(slots.shape[0])
    for place in range(slots.shape[0]):
        keys[place] = _key(counters, slots[place], column)
    return keys


def _fill_trending(ranked: RankedSlots, kind: int, counters: Counters, counted: NDArray[np.int32]) -> None:
    keys = _keys(counters, counted, kind)
    has = np.isfinite(keys)
    slots = counted[has]
    fill(ranked, kind, slots, keys[has], np.zeros(len(slots), dtype=np.int64))


def _fill_fresh(ranked: RankedSlots, counters: Counters, available: NDArray[np.bool_], size: int) -> None:
    slots = np.flatnonzero(available[:size]).astype(np.int32)
    fill(ranked, 0, slots, -_keys(counters, slots, LONGEST_SHOWN), counters.first_seen[slots])


@njit(cache=True, nogil=True)
def _change(
    trending: RankedSlots,
    fresh: RankedSlots,
    counters: Counters,
    available: NDArray[np.bool_],
    slots: NDArray[np.int32],
    changed: NDArray[np.bool_],
) -> None:
    """Put the `changed` slots, which are `slots` int32[n], where they belong now."""
    for kind in range(_KINDS):
        take_out(trending, kind, changed)
    take_out(fresh, 0, changed)
    for slot in slots:
        if not available[slot]:
            continue
        for kind in range(_KINDS):
            key = _key(counters, slot, kind)
            if key > -math.inf:
                put_in(trending, kind, slot, key, 0)
        put_in(fresh, 0, slot, -_key(counters, slot, LONGEST_SHOWN), counters.first_seen[slot])


@njit(cache=True, nogil=True)
def _activities(
    counters: Counters,
    available: NDArray[np.bool_],
    before: tuple[NDArray[np.int32], NDArray[np.float64]],
    slots: NDArray[np.int32],
    now: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float32]]:
    """The active slots int32[n], ascending, their keys float64[n], and √activity of each float32[n].

    `before`: slots, ascending, and keys of those that were active; those among `slots` int32[m], ascending, that have
    changed since or may have become active.
    """
    known, known_keys = before
    most = known.shape[0] + slots.shape[0]
    active, keys, weights = np.empty(most, np.int32), np.empty(most), np.empty(most, np.float32)
    at = now * DECAY_RATES[ACTIVITY]
    count = one = two = 0
    while one < known.shape[0] or two < slots.shape[0]:
        if two < slots.shape[0] and (one == known.shape[0] or slots[two] <= known[one]):
            slot = slots[two]
            key = _key(counters, slot, ACTIVITY) if available[slot] else -math.inf
            one += one < known.shape[0] and known[one] == slot
            two += 1
        else:
            slot, key = known[one], known_keys[one]
            one += 1
        activity = np.float32(np.exp2(min(key - at, _MOST_ACTIVE)))
        if activity > _NEGLIGIBLE:
            active[count], keys[count], weights[count] = slot, key, np.sqrt(activity)
            count += 1
    return active[:count].copy(), keys[:count].copy(), weights[:count].copy()
