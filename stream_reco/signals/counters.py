"""Per-item counters: sliding windows and exponential decay at several half-lives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import grown
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, SHOWN_HALF_LIVES_MS, WINDOWS_MS

DECAYS = len(ACTION_HALF_LIVES_MS) + len(SHOWN_HALF_LIVES_MS)
DECAY_RATES = 1.0 / np.array(ACTION_HALF_LIVES_MS + SHOWN_HALF_LIVES_MS, dtype=np.float64)
WINDOW_SPANS = np.array(WINDOWS_MS, dtype=np.int64)
_ACTIONS = len(ACTION_HALF_LIVES_MS)


class Counters(NamedTuple):
    """The counter arrays, one row an item slot."""

    decayed: NDArray[np.float32]
    """float32[slots, DECAYS]: actions at each half-life, then impressions; as of the stamp."""
    stamps: NDArray[np.int64]
    """int64[slots], ms: time of the latest counted event."""
    current: NDArray[np.float32]
    """float32[slots, windows]: actions in the bucket that is being filled."""
    previous: NDArray[np.float32]
    """float32[slots, windows]: actions in the bucket before."""
    buckets: NDArray[np.int64]
    """int64[slots, windows]: number of the bucket being filled, time // span."""
    totals: NDArray[np.float32]
    """float32[slots]: all actions ever."""
    first_seen: NDArray[np.int64]
    """int64[slots], ms: time of the item's first event, −1 before it."""


@njit(cache=True, nogil=True)
def roll(counters: Counters, slot: int, now: int) -> None:
    """Bring a slot's decays and windows to `now` (ms); time never runs backwards in a slot."""
    elapsed = now - counters.stamps[slot]
    if elapsed > 0:
        for kind in range(DECAYS):
            counters.decayed[slot, kind] *= np.float32(np.exp2(-elapsed * DECAY_RATES[kind]))
        counters.stamps[slot] = now
    for window in range(WINDOW_SPANS.shape[0]):
        bucket = now // WINDOW_SPANS[window]
        ahead = bucket - counters.buckets[slot, window]
        if ahead > 0:
            counters.previous[slot, window] = counters.current[slot, window] if ahead == 1 else np.float32(0.0)
            counters.current[slot, window] = 0.0
            counters.buckets[slot, window] = bucket


@njit(cache=True, nogil=True)
def count_action(counters: Counters, slot: int, now: int) -> None:
    """Count one action on a slot at `now` (ms)."""
    roll(counters, slot, now)
    if counters.first_seen[slot] < 0:
        counters.first_seen[slot] = now
    for kind in range(_ACTIONS):
        counters.decayed[slot, kind] += np.float32(1.0)
    for window in range(WINDOW_SPANS.shape[0]):
        counters.current[slot, window] += np.float32(1.0)
    counters.totals[slot] += np.float32(1.0)


@njit(cache=True, nogil=True)
def count_shown(counters: Counters, slot: int, now: int) -> None:
    """Count one impression of a slot at `now` (ms)."""
    roll(counters, slot, now)
    if counters.first_seen[slot] < 0:
        counters.first_seen[slot] = now
    for kind in range(_ACTIONS, DECAYS):
        counters.decayed[slot, kind] += np.float32(1.0)


@njit(cache=True, nogil=True)
def windowed(counters: Counters, slot: int, window: int, now: int) -> float:
    """Actions in the last `WINDOWS_MS[window]` before `now`.

    The bucket before counts by the share of it that the window still covers, as if its actions were spread evenly.
    """
    span = WINDOW_SPANS[window]
    ahead = now // span - counters.buckets[slot, window]
    rest = 1.0 - (now % span) / span
    if ahead <= 0:
        return counters.current[slot, window] + rest * counters.previous[slot, window]
    if ahead == 1:
        return rest * counters.current[slot, window]
    return 0.0


def empty_counters(slots: int) -> Counters:
    """Counters of items that nothing is known of."""
    windows = len(WINDOWS_MS)
    return Counters(
        decayed=np.zeros((slots, DECAYS), dtype=np.float32),
        stamps=np.zeros(slots, dtype=np.int64),
        current=np.zeros((slots, windows), dtype=np.float32),
        previous=np.zeros((slots, windows), dtype=np.float32),
        buckets=np.zeros((slots, windows), dtype=np.int64),
        totals=np.zeros(slots, dtype=np.float32),
        first_seen=np.full(slots, -1, dtype=np.int64),
    )


def grown_counters(counters: Counters, slots: int) -> Counters:
    """The same counters with room for `slots` slots."""
    return Counters(*(grown(array, slots, -1 if name == "first_seen" else 0)
                      for name, array in zip(Counters._fields, counters, strict=True)))


def clear_counters(counters: Counters, slots: NDArray[np.int32]) -> None:
    """Forget the given slots."""
    for name, array in zip(Counters._fields, counters, strict=True):
        array[slots] = -1 if name == "first_seen" else 0
