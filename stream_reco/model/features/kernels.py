"""The one function that turns a request and its candidates into numbers, for training and for serving alike.

Counts pass through log(1 + x), so that the ranker sees ratios; shares and lifts are logarithms of smoothed ratios.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.disliked import disliked_columns
from stream_reco.model.features.names import FEATURES, start_of
from stream_reco.model.features.neighbours import neighbour_columns
from stream_reco.signals.context import Context
from stream_reco.signals.counters import DECAY_RATES, DECAYS, windowed
from stream_reco.signals.decayed_lists import EMPTY, Lists, decay_of
from stream_reco.signals.dislikes import NOTHING_DISLIKED
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposure
from stream_reco.signals.observe import Counts, PlainCounts, named, plain, tallied
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, HOUR_MS, RECENT, SHOWN_HALF_LIVES_MS, WINDOWS_MS
from stream_reco.signals.signals import Signals

_ACTIONS = len(ACTION_HALF_LIVES_MS)
_SHOWN = len(SHOWN_HALF_LIVES_MS)
_SAME_HALF_LIFE = np.array([ACTION_HALF_LIVES_MS.index(half_life) for half_life in SHOWN_HALF_LIVES_MS])
_WINDOWS = len(WINDOWS_MS)
_DAY = 4
"""Column of the half-life of a day among `ACTION_HALF_LIVES_MS`."""
_SEEDS = 8
"""Newest items of the user that co-visits and successions are looked up for."""
_POPULARITY, _WINDOW, _SHARE = start_of("popularity"), start_of("windows"), start_of("share")
_VELOCITY, _AGE, _SHOWN_AT = start_of("velocity"), start_of("age"), start_of("shown")
_COVISITS, _NEXT = start_of("covisits"), start_of("next")
_CONTEXT, _RECENCY, _FATIGUE = start_of("context"), start_of("recency"), start_of("fatigue")
_NO_ACTION = 16.0
"""log(1 + seconds) since the last action of a user without any: about three months."""
_RATE_ACTED, _RATE_SHOWN = 0.5, 10.0
"""Pseudo-counts (actions, impressions): the rate of an item that was hardly shown begins near 0.5 / 10."""
_RATE_OFFSET = 3.0
"""Added to the logarithm of a rate: log(0.5 / 10) = −3.0, so an item that was hardly shown has a feature near 0."""
_LEAST_SHARE = 1e-3
"""Added to a share before the logarithm, so that a share of 0 is finite and less than a thousandth tells nothing."""
_SHARE_OFFSET = 7.0
"""Added to the logarithm of a share: log(1e-3) = −6.9, so a share of 0 gives about 0."""
_NO_SHARE = math.log(_LEAST_SHARE) + _SHARE_OFFSET
_COVISIT_MASS = 5.0
"""Pseudo-count (weight of co-visits): what a share of a list that holds little is divided by at least."""
_NEXT_MASS_20M, _NEXT_MASS = 2.0, 3.0
"""Pseudo-counts (successions) of the same kind, at the half-life of 20 minutes and at that of 2 hours."""
_LIFT_ACTIONS = 3.0
"""Pseudo-count (actions) spread as the context's prior: an item with few actions has a lift near 1, its logarithm 0."""
_PRIOR_VALUE, _PRIOR_FIELD = 1.0, 10.0
"""Pseudo-counts (actions) of a context value and of all values of its field: no prior is 0."""
_SHARED_WINDOWS = 3
"""Half-lives, from the shortest on, whose share of all actions is a feature: 5 min, 15 min, 1 h."""
_SINGLE_SEEDS = 3
"""Newest items of the user whose co-visits are features of their own, besides those of all seeds together."""


@njit(cache=True, nogil=True)
def _log1p(x: float) -> float:
    # math.log1p takes thrice as long, for digits beyond those of a float32 feature. Most counts of a candidate are 0.
    return math.log(1.0 + x) if x != 0.0 else 0.0


@njit(cache=True, nogil=True)
def _item_columns(
    counts: Counts,
    slot: int,
    now: int,
    totals: NDArray[np.float32],
    decayed: NDArray[np.float32],
    out: NDArray[np.float32],
) -> float:
    """Fill the columns of the item itself; returns its decayed clicks of a day. `decayed` float32[DECAYS] is filled."""
    items = counts.items
    if slot < 0:
        # What an item has in the moment of its first impression.
        for kind in range(_SHARED_WINDOWS):
            out[_SHARE + kind] = out[_POPULARITY + kind] - totals[kind]
        out[_AGE + 1] = _log1p(max(0, now) / 1000.0)
        return 0.0
    elapsed, number = max(0, now - items.stamps[slot]), items.numbers[slot]
    for kind in range(DECAYS):
        count = items.decayed[number, kind]
        decayed[kind] = count * np.exp2(-elapsed * DECAY_RATES[kind]) if count != 0.0 else 0.0
    for kind in range(_ACTIONS):
        out[_POPULARITY + kind] = _log1p(decayed[kind])
    out[_POPULARITY + _ACTIONS] = _log1p(items.totals[slot])
    for kind in range(_SHARED_WINDOWS):
        out[_SHARE + kind] = out[_POPULARITY + kind] - totals[kind]
    for window in range(_WINDOWS):
        out[_WINDOW + window] = _log1p(windowed(items, slot, window, now))
    out[_VELOCITY] = out[_POPULARITY] - out[_POPULARITY + 1]
    out[_VELOCITY + 1] = out[_POPULARITY + 1] - out[_POPULARITY + 2]
    out[_VELOCITY + 2] = out[_POPULARITY + 2] - out[_POPULARITY + _DAY]
    first = items.first_seen[slot]
    out[_AGE] = _log1p(max(0, now - first) / 60_000.0) if first >= 0 else 0.0
    out[_AGE + 1] = _log1p(elapsed / 1000.0)
    for kind in range(_SHOWN):
        shown = decayed[_ACTIONS + kind]
        out[_SHOWN_AT + kind] = _log1p(shown)
        acted = min(decayed[_SAME_HALF_LIFE[kind]], shown)
        out[_SHOWN_AT + _SHOWN + kind] = (
            math.log((acted + _RATE_ACTED) / (shown + _RATE_SHOWN)) + _RATE_OFFSET if shown > 0 else 0.0
        )
    clicks: float = decayed[_DAY]
    return clicks


@njit(cache=True, nogil=True)
def _found(
    lists: Lists, recent: NDArray[np.int32], slots: NDArray[np.int32], now: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights as of `now` of each candidate in the list of each seed, and of all that the list holds.

    float32[n, seeds, half-lives] and float32[seeds, half-lives].
    """
    kinds = lists.rates.shape[0]
    found = np.zeros((slots.shape[0], _SEEDS, kinds), dtype=np.float32)
    masses = np.zeros((_SEEDS, kinds), dtype=np.float32)
    # Few of the listed items are candidates: to look the lists up among the candidates is much less work than the
    # other way round.
    order = np.argsort(slots)
    ascending = slots[order]
    fades = np.empty(kinds, dtype=np.float32)
    for seed in range(_SEEDS):
        row = recent[seed]
        if row < 0:
            break
        for kind in range(kinds):
            fades[kind] = decay_of(lists, row, kind, now)
        number = lists.numbers[row]
        for place in range(lists.keys.shape[1]):
            key = lists.keys[number, place]
            if key == EMPTY:
                break
            weights = lists.weights[number, place] * fades
            masses[seed] += weights
            at = np.searchsorted(ascending, key)
            while at < slots.shape[0] and ascending[at] == key:
                found[order[at], seed] = weights
                at += 1
    return found, masses


@njit(cache=True, nogil=True)
def _log_share(share: float) -> float:
    return math.log(share + _LEAST_SHARE) + _SHARE_OFFSET if share != 0.0 else _NO_SHARE


@njit(cache=True, nogil=True)
def _covisit_columns(
    visits: NDArray[np.float32],
    masses: NDArray[np.float32],
    known: int,
    fading: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill what co-visits with each of the `known` seeds say of a candidate; `visits` float32[seeds, 2]."""
    fast, slow, share, first, best = 0.0, 0.0, 0.0, 0.0, 0.0
    for seed in range(known):
        quick, steady = visits[seed, 0], visits[seed, 1]
        part = quick / (masses[seed, 0] + _COVISIT_MASS)
        if seed < _SINGLE_SEEDS:
            out[_COVISITS + 2 * seed] = _log1p(quick)
            out[_COVISITS + 2 * seed + 1] = _log1p(steady)
        if seed == 0:
            first = part
        fast += quick * fading[seed]
        slow += steady * fading[seed]
        share += part * fading[seed]
        best = max(best, part)
    out[_COVISITS + 6] = _log1p(fast)
    out[_COVISITS + 7] = _log1p(slow)
    out[_COVISITS + 8] = _log_share(first)
    out[_COVISITS + 9] = _log_share(share)
    out[_COVISITS + 10] = _log_share(best)


@njit(cache=True, nogil=True)
def _next_columns(
    steps: NDArray[np.float32],
    masses: NDArray[np.float32],
    known: int,
    fading: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill how often a candidate came directly after the seeds; `steps` float32[seeds, 3]."""
    every, share = 0.0, 0.0
    for seed in range(known):
        every += steps[seed, 1] * fading[seed]
        share += steps[seed, 1] / (masses[seed, 1] + _NEXT_MASS) * fading[seed]
    for kind in range(3):
        out[_NEXT + kind] = _log1p(steps[0, kind])
    out[_NEXT + 3] = _log1p(every)
    out[_NEXT + 4] = _log_share(steps[0, 0] / (masses[0, 0] + _NEXT_MASS_20M))
    out[_NEXT + 5] = _log_share(steps[0, 1] / (masses[0, 1] + _NEXT_MASS))
    out[_NEXT + 6] = _log_share(share)


class _RequestValues(NamedTuple):
    """The context values of one request."""

    values: NDArray[np.int32]
    """int32[fields]: number of each field's value, −1 where absent."""
    field_of: NDArray[np.int8]
    """int8[values]: the field that has the value in this request, −1 for other values."""
    priors: NDArray[np.float32]
    """float32[fields]: smoothed chance of each value over all items."""


@njit(cache=True, nogil=True)
def _context_columns(
    contexts: Lists, slot: int, request: _RequestValues, clicks: float, now: int, out: NDArray[np.float32]
) -> None:
    """How much more often than chance the item is acted on in each of the request's context values (log lift)."""
    if slot < 0:
        return
    fade, number = decay_of(contexts, slot, 1, now), contexts.numbers[slot]
    values, field_of, priors = request
    inside = np.zeros(values.shape[0], dtype=np.float32)
    for place in range(contexts.keys.shape[1]):
        value = contexts.keys[number, place]
        if value == EMPTY:
            break
        if field_of[value] >= 0:
            inside[field_of[value]] = contexts.weights[number, place, 1]
    total = 0.0
    for field in range(values.shape[0]):
        if values[field] >= 0:
            seen = inside[field] * fade + _LIFT_ACTIONS * priors[field]
            lift = math.log(seen / (clicks + _LIFT_ACTIONS) / priors[field])
            out[_CONTEXT + field] = lift
            total += lift
    out[_CONTEXT + values.shape[0]] = total


@njit(cache=True, nogil=True)
def _priors(counts: Counts, values: NDArray[np.int32], now: int) -> NDArray[np.float32]:
    """float32[fields]: smoothed chance of each of the request's context values over all items."""
    priors = np.ones(values.shape[0], dtype=np.float32)
    for field in range(values.shape[0]):
        if values[field] >= 0:
            inside = tallied(counts.values, values[field], now)
            priors[field] = (inside + _PRIOR_VALUE) / (tallied(counts.fields, field, now) + _PRIOR_FIELD)
    return priors


@njit(cache=True, nogil=True)
def _recency_columns(
    recent: NDArray[np.int32], times: NDArray[np.int64], ages: NDArray[np.float32], now: int, out: NDArray[np.float32]
) -> None:
    known, lately = 0, 0
    while known < RECENT and recent[known] >= 0:
        lately += 1 if now - times[known] < HOUR_MS else 0
        known += 1
    out[_RECENCY] = _log1p(max(0, now - times[0]) / 1000.0) if known else _NO_ACTION
    out[_RECENCY + 1] = _log1p(known)
    out[_RECENCY + 2] = _log1p(lately)
    for field in range(ages.shape[0]):
        out[_RECENCY + 3 + field] = ages[field]


@njit(cache=True, nogil=True)
def _fatigue_columns(
    shown: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]],
    slots: NDArray[np.int32],
    now: int,
    out: NDArray[np.float32],
) -> None:
    """Fill, for all candidates, how often the user was shown each since the last action on it, and when last."""
    items, counts, times = shown
    order = np.argsort(items)
    ascending = items[order]
    for place in range(slots.shape[0]):
        at = np.searchsorted(ascending, slots[place])
        if slots[place] >= 0 and at < ascending.shape[0] and ascending[at] == slots[place]:
            found = order[at]
            out[place, _FATIGUE] = _log1p(counts[found])
            out[place, _FATIGUE + 1] = 1.0
            out[place, _FATIGUE + 2] = _log1p(max(0, now - times[found]) / 1000.0)


@njit(cache=True, nogil=True)
def fill(
    plain_counts: PlainCounts,
    actions: tuple[NDArray[np.int32], NDArray[np.int64]],
    shown: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]],
    context: tuple[NDArray[np.int32], NDArray[np.float32]],
    now: int,
    slots: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` float32[n, len(FEATURES)] for candidates `slots` int32[n] of one request (see `feature_matrix`).

    `actions` are the slots and times of `RecentActions`, `shown` an `Exposure`, `context` the values and ages of a
    `Context`.
    """
    counts = named(plain_counts)
    (recent, times), (values, ages) = actions, context
    everything, totals = counts.everything, np.empty(_SHARED_WINDOWS, dtype=np.float32)
    elapsed, number = max(0, now - everything.stamps[0]), everything.numbers[0]
    for kind in range(_SHARED_WINDOWS):
        totals[kind] = _log1p(everything.decayed[number, kind] * np.exp2(-elapsed * DECAY_RATES[kind]))
    fading = np.zeros(_SEEDS, dtype=np.float32)
    known = 0
    while known < _SEEDS and recent[known] >= 0:
        fading[known] = 1.0 / (1.0 + max(0, now - times[known]) / HOUR_MS)
        known += 1
    visits, visited = _found(counts.pairs, recent, slots, now)
    steps, stepped = _found(counts.following, recent, slots, now)
    priors = _priors(counts, values, now)
    field_of = np.full(counts.values.stamps.shape[0], -1, dtype=np.int8)
    for field in range(values.shape[0]):
        if values[field] >= 0:
            field_of[values[field]] = field
    request, decayed = _RequestValues(values, field_of, priors), np.empty(DECAYS, dtype=np.float32)
    of_all = np.zeros(out.shape[1], dtype=np.float32)
    _recency_columns(recent, times, ages, now, of_all)
    for place in range(slots.shape[0]):
        row = out[place]
        row[:] = of_all
        clicks = _item_columns(counts, slots[place], now, totals, decayed, row)
        _covisit_columns(visits[place], visited, known, fading, row)
        _next_columns(steps[place], stepped, known, fading, row)
        _context_columns(counts.contexts, slots[place], request, clicks, now, row)
    neighbour_columns(counts, recent, slots, now, out)
    if shown[0].shape[0]:
        _fatigue_columns(shown, slots, now, out)


def feature_matrix(
    signals: Signals,
    recent: NDArray[np.int32],
    times: NDArray[np.int64],
    context: Context,
    now: int,
    slots: NDArray[np.int32],
    shown: Exposure = NOTHING_SHOWN,
    disliked: NDArray[np.int32] = NOTHING_DISLIKED,
) -> NDArray[np.float32]:
    """float32[n, len(FEATURES)] of the candidates `slots` int32[n], as of `now` (ms); −1: an item without any event.

    `recent` int32[RECENT] and `times` int64[RECENT] are the user's newest actions, newest first, −1 behind the last;
    all of `recent` must be slots of these `signals`. `shown`: what the user was shown before, in slots as well.
    `disliked` int32[d] are those slots of these `signals` that the user took a negative action on, the newest first.
    """
    out = np.empty((len(slots), len(FEATURES)), dtype=np.float32)
    actions, values = (recent, times), (context.values, context.ages)
    fill(plain(signals.counts), actions, (shown.slots, shown.counts, shown.times), values, now, slots, out)
    if len(disliked):
        disliked_columns(signals, disliked, slots, now, out)
    return out
