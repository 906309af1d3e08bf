"""Per-item counters: sliding windows and exponential decay at several half-lives.

A late event counts as much as it would count by now had it come in time, so the counters do not depend on the order
of arrival. What decays and what slides takes memory from an item's first event on: most of a large catalogue have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts, capacity_for, grown, put, take
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, SHOWN_HALF_LIVES_MS, WINDOWS_MS

DECAYS = len(ACTION_HALF_LIVES_MS) + len(SHOWN_HALF_LIVES_MS)
DECAY_RATES = 1.0 / np.array(ACTION_HALF_LIVES_MS + SHOWN_HALF_LIVES_MS, dtype=np.float64)
WINDOW_SPANS = np.array(WINDOWS_MS, dtype=np.int64)
LONGEST_SHOWN = DECAYS - 1
"""Column of the impressions with the longest half-life, a week."""
_ACTIONS = len(ACTION_HALF_LIVES_MS)


class Counters(NamedTuple):
    """The counter arrays, by item slot or by the number that an item has from its first counted event on."""

    decayed: NDArray[np.float64]
    """float64[numbers, DECAYS]: actions at each half-life, then impressions; as of the stamp.

    In float32 the decay over a few milliseconds rounds to 1, and what is counted many times a second never decays.
    """
    current: NDArray[np.float32]
    """float32[numbers, windows]: actions in the bucket that is being filled."""
    previous: NDArray[np.float32]
    """float32[numbers, windows]: actions in the bucket before."""
    buckets: NDArray[np.int64]
    """int64[numbers, windows]: number of the bucket being filled, time // span."""
    stamps: NDArray[np.int64]
    """int64[slots], ms: time of the latest counted event."""
    totals: NDArray[np.int64]
    """int64[slots]: all actions ever."""
    first_seen: NDArray[np.int64]
    """int64[slots], ms: time of the item's earliest event, −1 before any."""
    impressions: NDArray[np.int64]
    """int64[slots]: all impressions ever."""
    numbers: NDArray[np.int32]
    """int32[slots]; 0, under which everything stays 0, before there is anything to count."""
    used: NDArray[np.int64]
    """int64[1]: numbers that are given, 0 included."""


BY_NUMBER = ("decayed", "current", "previous", "buckets")
BY_SLOT = ("stamps", "totals", "first_seen", "impressions")


@njit(cache=True, nogil=True)
def roll(counters: Counters, slot: int, now: int) -> int:
    """Bring a slot's decays and windows to `now` (ms) and return its number; time never runs backwards in a slot.

    A slot without a number takes one: there must be one to spare (`with_spare_number`).
    """
    if counters.numbers[slot] == 0:
        counters.numbers[slot] = counters.used[0]
        counters.used[0] += 1
    number = counters.numbers[slot]
    elapsed = now - counters.stamps[slot]
    if elapsed > 0:
        for kind in range(DECAYS):
            counters.decayed[number, kind] *= np.exp2(-elapsed * DECAY_RATES[kind])
        counters.stamps[slot] = now
    for window in range(WINDOW_SPANS.shape[0]):
        bucket = now // WINDOW_SPANS[window]
        ahead = bucket - counters.buckets[number, window]
        if ahead > 0:
            counters.previous[number, window] = counters.current[number, window] if ahead == 1 else np.float32(0.0)
            counters.current[number, window] = 0.0
            counters.buckets[number, window] = bucket
    return int(number)


@njit(cache=True, nogil=True)
def note_first(counters: Counters, slot: int, now: int) -> None:
    """Remember the time of the earliest event."""
    if counters.first_seen[slot] < 0 or now < counters.first_seen[slot]:
        counters.first_seen[slot] = now


@njit(cache=True, nogil=True)
def count_action(counters: Counters, slot: int, now: int) -> None:
    """Count one action on a slot at `now` (ms)."""
    number = roll(counters, slot, now)
    note_first(counters, slot, now)
    late = counters.stamps[slot] - now
    for kind in range(_ACTIONS):
        counters.decayed[number, kind] += np.exp2(-late * DECAY_RATES[kind]) if late else 1.0
    for window in range(WINDOW_SPANS.shape[0]):
        behind = counters.buckets[number, window] - now // WINDOW_SPANS[window]
        if behind == 0:
            counters.current[number, window] += np.float32(1.0)
        elif behind == 1:
            counters.previous[number, window] += np.float32(1.0)
    counters.totals[slot] += 1


@njit(cache=True, nogil=True)
def uncount_action(counters: Counters, slot: int, now: int) -> None:
    """Take out what `count_action` at the same `now` (ms) added, as far as it has not decayed; nothing falls below 0.

    Stamp and time of the earliest event stay: other events may have moved them.
    """
    late, number = counters.stamps[slot] - now, counters.numbers[slot]
    for kind in range(_ACTIONS):
        weight = np.exp2(-max(late, 0) * DECAY_RATES[kind])
        counters.decayed[number, kind] = max(counters.decayed[number, kind] - weight, 0.0)
    for window in range(WINDOW_SPANS.shape[0]):
        behind = counters.buckets[number, window] - now // WINDOW_SPANS[window]
        if behind == 0:
            counters.current[number, window] = max(counters.current[number, window] - np.float32(1.0), np.float32(0.0))
        elif behind == 1:
            counters.previous[number, window] = max(
                counters.previous[number, window] - np.float32(1.0), np.float32(0.0)
            )
    counters.totals[slot] = max(counters.totals[slot] - 1, 0)


@njit(cache=True, nogil=True)
def count_shown(counters: Counters, slot: int, now: int) -> None:
    """Count one impression of a slot at `now` (ms)."""
    number = roll(counters, slot, now)
    note_first(counters, slot, now)
    late = counters.stamps[slot] - now
    for kind in range(_ACTIONS, DECAYS):
        counters.decayed[number, kind] += np.exp2(-late * DECAY_RATES[kind]) if late else 1.0
    counters.impressions[slot] += 1


@njit(cache=True, nogil=True)
def windowed(counters: Counters, slot: int, window: int, now: int) -> float:
    """Actions in the last `WINDOWS_MS[window]` before `now` (ms); an older `now` than the stamp reads as the stamp.

    The bucket before counts by the share of it that the window still covers, as if its actions were spread evenly.
    """
    span, number = WINDOW_SPANS[window], counters.numbers[slot]
    now = max(now, counters.stamps[slot])
    ahead = now // span - counters.buckets[number, window]
    rest = 1.0 - (now % span) / span
    if ahead > 1:
        return 0.0
    if ahead == 1:
        return float(rest * counters.current[number, window])
    return float(counters.current[number, window] + rest * counters.previous[number, window])


def decayed_at(counters: Counters, slots: NDArray[np.int32] | slice, kinds: int, now: int) -> NDArray[np.float64]:
    """float64[n, kinds]: decayed counts of n slots under the first `kinds` half-lives, as of `now` (ms)."""
    elapsed = np.maximum(0, now - counters.stamps[slots])
    counts: NDArray[np.float64] = counters.decayed[counters.numbers[slots], :kinds] * np.exp2(
        -elapsed[:, None] * DECAY_RATES[:kinds]
    )
    return counts


def empty_counters(slots: int) -> Counters:
    """Counters of items that nothing is known of, with a number for each of them."""
    windows, numbers = len(WINDOWS_MS), slots + 1
    return Counters(
        decayed=np.zeros((numbers, DECAYS), dtype=np.float64),
        current=np.zeros((numbers, windows), dtype=np.float32),
        previous=np.zeros((numbers, windows), dtype=np.float32),
        buckets=np.zeros((numbers, windows), dtype=np.int64),
        stamps=np.zeros(slots, dtype=np.int64),
        totals=np.zeros(slots, dtype=np.int64),
        first_seen=np.full(slots, -1, dtype=np.int64),
        impressions=np.zeros(slots, dtype=np.int64),
        numbers=np.zeros(slots, dtype=np.int32),
        used=np.ones(1, dtype=np.int64),
    )


def grown_counters(counters: Counters, slots: int) -> Counters:
    """The same counters with room for `slots` slots."""
    by_slot = {name: grown(getattr(counters, name), slots, _blank(name)) for name in (*BY_SLOT, "numbers")}
    return Counters(*(by_slot.get(name, getattr(counters, name)) for name in Counters._fields))


def with_spare_numbers(counters: Counters, spare: int) -> Counters:
    """The same counters with room for so many slots more that get a number."""
    needed = int(counters.used[0]) + spare
    if needed <= len(counters.decayed):
        return counters
    room = capacity_for(needed, len(counters.decayed))
    by_number = {name: grown(getattr(counters, name), room, 0) for name in BY_NUMBER}
    return Counters(*(by_number.get(name, getattr(counters, name)) for name in Counters._fields))


def clear_counters(counters: Counters, slots: NDArray[np.int32]) -> None:
    """Forget the given slots; they keep their numbers, as events of their next items will come."""
    for name in BY_SLOT:
        getattr(counters, name)[slots] = _blank(name)
    numbers = counters.numbers[slots]
    for name in BY_NUMBER:
        getattr(counters, name)[numbers] = 0


def take_counters(counters: Counters, slots: NDArray[np.int32], prefix: str) -> Parts:
    """Copies of what is counted of the given slots, under `prefix`; by number, of those "rows" that have anything."""
    numbers = counters.numbers[slots]
    holds = counters.decayed[numbers].any(axis=1) | counters.buckets[numbers].any(axis=1)
    own = take(counters, BY_SLOT, slots, prefix) | take(counters, BY_NUMBER, numbers[holds], prefix)
    return {f"{prefix}rows": slots[holds], **own}


def put_counters(
    counters: Counters, slots: NDArray[np.int32], parts: Mapping[str, NDArray[Any]], prefix: str
) -> Counters:
    """The counters with the given slots as `take_counters` took them. Raises ValueError as `put` does.

    Up to version 0.2.0 parts had everything for each slot.
    """
    if f"{prefix}rows" in parts:
        holding = parts[f"{prefix}rows"]
    else:
        holds = parts[f"{prefix}decayed"].any(axis=1) | parts[f"{prefix}buckets"].any(axis=1)
        parts = {**parts, **{prefix + name: parts[prefix + name][holds] for name in BY_NUMBER}}
        holding = slots[holds]
    new = holding[counters.numbers[holding] == 0]
    counters = with_spare_numbers(counters, len(new))
    first = int(counters.used[0])
    counters.numbers[new] = np.arange(first, first + len(new), dtype=np.int32)
    counters.used[0] += len(new)
    clear_counters(counters, slots)
    put(counters, BY_SLOT, slots, parts, prefix)
    put(counters, BY_NUMBER, counters.numbers[holding], parts, prefix)
    return counters


def _blank(name: str) -> int:
    return -1 if name == "first_seen" else 0
