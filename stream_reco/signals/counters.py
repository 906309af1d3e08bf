"""Per-item counters: sliding windows and exponential decay at several half-lives.

A late event counts as much as it would count by now had it come in time, so the counters do not depend on the order
of arrival.
"""

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
LONGEST_SHOWN = DECAYS - 1
"""Column of the impressions with the longest half-life, a week."""
_ACTIONS = len(ACTION_HALF_LIVES_MS)


class Counters(NamedTuple):
    """The counter arrays, one row an item slot."""

    decayed: NDArray[np.float64]
    """float64[slots, DECAYS]: actions at each half-life, then impressions; as of the stamp.

    In float32 the decay over a few milliseconds rounds to 1, and what is counted many times a second never decays.
    """
    stamps: NDArray[np.int64]
    """int64[slots], ms: time of the latest counted event."""
    current: NDArray[np.float32]
    """float32[slots, windows]: actions in the bucket that is being filled."""
    previous: NDArray[np.float32]
    """float32[slots, windows]: actions in the bucket before."""
    buckets: NDArray[np.int64]
    """int64[slots, windows]: number of the bucket being filled, time // span."""
    totals: NDArray[np.int64]
    """int64[slots]: all actions ever."""
    first_seen: NDArray[np.int64]
    """int64[slots], ms: time of the item's earliest event, −1 before any."""
    impressions: NDArray[np.int64]
    """int64[slots]: all impressions ever."""


@njit(cache=True, nogil=True)
def roll(counters: Counters, slot: int, now: int) -> None:
    """Bring a slot's decays and windows to `now` (ms); time never runs backwards in a slot."""
    elapsed = now - counters.stamps[slot]
    if elapsed > 0:
        for kind in range(DECAYS):
            counters.decayed[slot, kind] *= np.exp2(-elapsed * DECAY_RATES[kind])
        counters.stamps[slot] = now
    for window in range(WINDOW_SPANS.shape[0]):
        bucket = now // WINDOW_SPANS[window]
        ahead = bucket - counters.buckets[slot, window]
        if ahead > 0:
            counters.previous[slot, window] = counters.current[slot, window] if ahead == 1 else np.float32(0.0)
            counters.current[slot, window] = 0.0
            counters.buckets[slot, window] = bucket


@njit(cache=True, nogil=True)
def note_first(counters: Counters, slot: int, now: int) -> None:
    """Remember the time of the earliest event."""
    if counters.first_seen[slot] < 0 or now < counters.first_seen[slot]:
        counters.first_seen[slot] = now


@njit(cache=True, nogil=True)
def count_action(counters: Counters, slot: int, now: int) -> None:
    """Count one action on a slot at `now` (ms)."""
    roll(counters, slot, now)
    note_first(counters, slot, now)
    late = counters.stamps[slot] - now
    for kind in range(_ACTIONS):
        counters.decayed[slot, kind] += np.exp2(-late * DECAY_RATES[kind]) if late else 1.0
    for window in range(WINDOW_SPANS.shape[0]):
        behind = counters.buckets[slot, window] - now // WINDOW_SPANS[window]
        if behind == 0:
            counters.current[slot, window] += np.float32(1.0)
        elif behind == 1:
            counters.previous[slot, window] += np.float32(1.0)
    counters.totals[slot] += 1


@njit(cache=True, nogil=True)
def uncount_action(counters: Counters, slot: int, now: int) -> None:
    """Take out what `count_action` at the same `now` (ms) added, as far as it has not decayed; nothing falls below 0.

    Stamp and time of the earliest event stay: other events may have moved them.
    """
    late = counters.stamps[slot] - now
    for kind in range(_ACTIONS):
        weight = np.exp2(-max(late, 0) * DECAY_RATES[kind])
        counters.decayed[slot, kind] = max(counters.decayed[slot, kind] - weight, 0.0)
    for window in range(WINDOW_SPANS.shape[0]):
        behind = counters.buckets[slot, window] - now // WINDOW_SPANS[window]
        if behind == 0:
            counters.current[slot, window] = max(counters.current[slot, window] - np.float32(1.0), np.float32(0.0))
        elif behind == 1:
            counters.previous[slot, window] = max(counters.previous[slot, window] - np.float32(1.0), np.float32(0.0))
    counters.totals[slot] = max(counters.totals[slot] - 1, 0)


@njit(cache=True, nogil=True)
def count_shown(counters: Counters, slot: int, now: int) -> None:
    """Count one impression of a slot at `now` (ms)."""
    roll(counters, slot, now)
    note_first(counters, slot, now)
    late = counters.stamps[slot] - now
    for kind in range(_ACTIONS, DECAYS):
        counters.decayed[slot, kind] += np.exp2(-late * DECAY_RATES[kind]) if late else 1.0
    counters.impressions[slot] += 1


@njit(cache=True, nogil=True)
def windowed(counters: Counters, slot: int, window: int, now: int) -> float:
    """Actions in the last `WINDOWS_MS[window]` before `now` (ms); an older `now` than the stamp reads as the stamp.

    The bucket before counts by the share of it that the window still covers, as if its actions were spread evenly.
    """
    span = WINDOW_SPANS[window]
    now = max(now, counters.stamps[slot])
    ahead = now // span - counters.buckets[slot, window]
    rest = 1.0 - (now % span) / span
    if ahead > 1:
        return 0.0
    if ahead == 1:
        return float(rest * counters.current[slot, window])
    return float(counters.current[slot, window] + rest * counters.previous[slot, window])


def decayed_at(counters: Counters, slots: NDArray[np.int32] | slice, kinds: int, now: int) -> NDArray[np.float64]:
    """float64[n, kinds]: decayed counts of n slots under the first `kinds` half-lives, as of `now` (ms)."""
    elapsed = np.maximum(0, now - counters.stamps[slots])
    counts: NDArray[np.float64] = counters.decayed[slots, :kinds] * np.exp2(-elapsed[:, None] * DECAY_RATES[:kinds])
    return counts


def empty_counters(slots: int) -> Counters:
    """Counters of items that nothing is known of."""
    windows = len(WINDOWS_MS)
    return Counters(
        decayed=np.zeros((slots, DECAYS), dtype=np.float64),
        stamps=np.zeros(slots, dtype=np.int64),
        current=np.zeros((slots, windows), dtype=np.float32),
        previous=np.zeros((slots, windows), dtype=np.float32),
        buckets=np.zeros((slots, windows), dtype=np.int64),
        totals=np.zeros(slots, dtype=np.int64),
        first_seen=np.full(slots, -1, dtype=np.int64),
        impressions=np.zeros(slots, dtype=np.int64),
    )


def grown_counters(counters: Counters, slots: int) -> Counters:
    """The same counters with room for `slots` slots."""
    return Counters(*(grown(getattr(counters, name), slots, _blank(name)) for name in Counters._fields))


def clear_counters(counters: Counters, slots: NDArray[np.int32]) -> None:
    """Forget the given slots."""
    for name in Counters._fields:
        getattr(counters, name)[slots] = _blank(name)


def _blank(name: str) -> int:
    return -1 if name == "first_seen" else 0
