"""What one action changes in the signals, in one kernel, and what its retraction changes back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.counters import Counters, count_action, uncount_action
from stream_reco.signals.decayed_lists import Lists, add_weight, take_weight
from stream_reco.signals.settings import DAY_MS, HOUR_MS

PAIRED_ITEMS = 5
"""An action is paired with this many of the user's newest other items."""
PAIRED_WITHIN_MS = 12 * HOUR_MS
"""Two actions of a user that lie further apart than this (ms) are no co-visit."""
_BACKWARD = 0.5
"""Weight of a co-visit against the order in which it happened; with the order it is 1."""
_TALLY_RATE = 1.0 / DAY_MS
"""Decay exponent per ms of `DecayedTotals`: a half-life of a day."""


class DecayedTotals(NamedTuple):
    """Decayed counts (half-life a day) of context values, and of all values of each context field."""

    weights: NDArray[np.float64]
    """float64[n], as of the stamp."""
    stamps: NDArray[np.int64]
    """int64[n], ms."""


class Counts(NamedTuple):
    """All that an action counts into."""

    items: Counters
    everything: Counters
    """One row: all items together."""
    pairs: Lists
    """Row and key are item slots: what users did after, and at half weight before, the row's item."""
    following: Lists
    """Row and key are item slots: what users did directly after the row's item (first-order transitions)."""
    together: Lists
    """Row and key are item slots: how many users acted on both, however long apart."""
    contexts: Lists
    """Row is an item slot, key a context value: the contexts that the item is acted on in."""
    popular: Lists
    """Row is a context value, key an item slot: what is acted on in that context."""
    values: DecayedTotals
    fields: DecayedTotals


PlainCounts = tuple[tuple[NDArray[Any], ...], ...]
"""`Counts` without its names: numba takes a third of the time to read plain tuples that Python hands to a kernel."""


def plain(counts: Counts) -> PlainCounts:
    """The counts as a kernel takes them from Python; `named` gives the names back."""
    return tuple(map(tuple, counts))


@njit(cache=True, nogil=True)
def named(counts: PlainCounts) -> Counts:
    """The counts with their names, inside a kernel."""
    return Counts(
        Counters(*counts[0]),
        Counters(*counts[1]),
        Lists(*counts[2]),
        Lists(*counts[3]),
        Lists(*counts[4]),
        Lists(*counts[5]),
        Lists(*counts[6]),
        DecayedTotals(*counts[7]),
        DecayedTotals(*counts[8]),
    )


@njit(cache=True, nogil=True)
def add_to_tally(tally: DecayedTotals, place: int, now: int) -> None:
    """Count one at `now` (ms)."""
    elapsed = now - tally.stamps[place]
    if elapsed > 0:
        tally.weights[place] *= np.exp2(-elapsed * _TALLY_RATE)
        tally.stamps[place] = now
        tally.weights[place] += 1.0
    else:
        tally.weights[place] += np.exp2(elapsed * _TALLY_RATE)


@njit(cache=True, nogil=True)
def take_from_tally(tally: DecayedTotals, place: int, now: int) -> None:
    """Take out what `add_to_tally` at the same `now` (ms) added, as far as it has not decayed."""
    elapsed = min(now - tally.stamps[place], 0)
    tally.weights[place] = max(tally.weights[place] - np.exp2(elapsed * _TALLY_RATE), 0.0)


@njit(cache=True, nogil=True)
def tallied(tally: DecayedTotals, place: int, now: int) -> float:
    """The decayed count as of `now` (ms)."""
    return float(tally.weights[place] * np.exp2(-max(0, now - tally.stamps[place]) * _TALLY_RATE))


class RecentActions(NamedTuple):
    """A user's newest actions, newest first."""

    slots: NDArray[np.int32]
    """int32[n]: item slots, −1 behind the last."""
    times: NDArray[np.int64]
    """int64[n], ms."""


class Marks(NamedTuple):
    """Which item slots may be counted, and whose counts have changed."""

    live: NDArray[np.bool_]
    """bool[slots]: slots that belong to an item."""
    slots: NDArray[np.bool_]
    """bool[slots]: set where counts of the item changed."""
    values: NDArray[np.bool_]
    """bool[values]: set where counts of the context value changed."""


@njit(cache=True, nogil=True)
def _change_counters(counters: Counters, slot: int, now: int, sign: float) -> None:
    """Count an action; with `sign` −1 take it out again."""
    if sign > 0.0:
        count_action(counters, slot, now)
    else:
        uncount_action(counters, slot, now)


@njit(cache=True, nogil=True)
def _change_tally(tally: DecayedTotals, place: int, now: int, sign: float) -> None:
    """Count one; with `sign` −1 take it out again."""
    if sign > 0.0:
        add_to_tally(tally, place, now)
    else:
        take_from_tally(tally, place, now)


@njit(cache=True, nogil=True)
def _change_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Add an amount above 0; take one below 0 out again."""
    if amount > 0.0:
        add_weight(lists, row, key, amount, now)
    else:
        take_weight(lists, row, key, -amount, now)


@njit(cache=True, nogil=True)
def _pair(counts: Counts, slot: int, recent: RecentActions, now: int, marks: Marks, sign: float) -> None:
    """Count an action on `slot` as a visit after, or if it comes late before, the user's actions around it.

    It follows the newest of them directly, unless it comes late: then what was between the two is not known. With
    `sign` −1 it takes out what 1 has counted.
    """
    paired = 0
    for place in range(recent.slots.shape[0]):
        other = recent.slots[place]
        after = now - recent.times[place]
        if other < 0 or paired == PAIRED_ITEMS or after > PAIRED_WITHIN_MS:
            break
        if after < -PAIRED_WITHIN_MS or not marks.live[other]:
            continue
        if other != slot:
            # The later of the two makes the pair.
            time = max(now, recent.times[place])
            _change_weight(counts.pairs, other, slot, sign * (1.0 if after >= 0 else _BACKWARD), time)
            _change_weight(counts.pairs, slot, other, sign * (_BACKWARD if after >= 0 else 1.0), time)
            marks.slots[other] = True
            if paired == 0 and after >= 0:
                _change_weight(counts.following, other, slot, sign, now)
        paired += 1


@njit(cache=True, nogil=True)
def stands_before(slots: NDArray[np.int32], place: int) -> bool:
    """Whether the slot at a place of `slots` int32[n] stands at an earlier one as well."""
    return bool((slots[:place] == slots[place]).any())


@njit(cache=True, nogil=True)
def _join(counts: Counts, slot: int, recent: RecentActions, now: int, marks: Marks, sign: float) -> None:
    """Count the user of an action on `slot` as one that it shares with each of the user's recent items.

    Nothing is counted where the slot is one of them: this user is counted already.
    """
    slots = recent.slots
    for place in range(slots.shape[0]):
        if slots[place] == slot:
            return
    for place in range(slots.shape[0]):
        other = slots[place]
        if other < 0:
            break
        if marks.live[other] and not stands_before(slots, place):
            time = max(now, recent.times[place])
            _change_weight(counts.together, other, slot, sign, time)
            _change_weight(counts.together, slot, other, sign, time)
            marks.slots[other] = True


@njit(cache=True, nogil=True)
def count(
    plain_counts: PlainCounts,
    slot: int,
    recent: tuple[NDArray[np.int32], NDArray[np.int64]],
    values: NDArray[np.int32],
    now: int,
    plain_marks: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
    sign: float,
) -> None:
    """Count an action on `slot` at `now` (ms) by a user whose newest earlier actions are `recent`.

    `plain_counts`, `recent` and `plain_marks` are `Counts`, `RecentActions` and `Marks` as plain tuples. `values` are
    the context's value numbers by field, −1 where absent. Of `recent` only live slots count. The item slots and the
    values whose counts change are marked. `sign` is 1; with −1 it takes out what 1 with the same arguments has counted,
    as far as that has neither decayed nor made room.
    """
    counts, marks = named(plain_counts), Marks(*plain_marks)
    _change_counters(counts.items, slot, now, sign)
    _change_counters(counts.everything, 0, now, sign)
    marks.slots[slot] = True
    _pair(counts, slot, RecentActions(*recent), now, marks, sign)
    _join(counts, slot, RecentActions(*recent), now, marks, sign)
    for field in range(values.shape[0]):
        value = values[field]
        if value >= 0:
            _change_weight(counts.contexts, slot, value, sign, now)
            _change_weight(counts.popular, value, slot, sign, now)
            _change_tally(counts.values, value, now, sign)
            _change_tally(counts.fields, field, now, sign)
            marks.values[value] = True


@njit(cache=True, nogil=True)
def pair_again(
    plain_counts: PlainCounts,
    slot: int,
    before: tuple[NDArray[np.int32], NDArray[np.int64]],
    after: tuple[NDArray[np.int32], NDArray[np.int64]],
    now: int,
    plain_marks: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
) -> None:
    """Pair an action on `slot` at `now` (ms), which was paired with the actions `before` it, with `after` instead."""
    counts, marks = named(plain_counts), Marks(*plain_marks)
    marks.slots[slot] = True
    _pair(counts, slot, RecentActions(*before), now, marks, -1.0)
    _join(counts, slot, RecentActions(*before), now, marks, -1.0)
    _pair(counts, slot, RecentActions(*after), now, marks, 1.0)
    _join(counts, slot, RecentActions(*after), now, marks, 1.0)
