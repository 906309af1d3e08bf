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
from stream_reco.model.features.visits import (
    MOST_HALF_LIVES,
    SEEDS,
    covisit_columns,
    listed_after,
    log1p,
    next_columns,
)
from stream_reco.signals.context import Context
from stream_reco.signals.counters import DECAY_RATES, DECAYS, windowed
from stream_reco.signals.decayed_lists import EMPTY, Lists, decay_of
from stream_reco.signals.dislikes import NOTHING_DISLIKED
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposure
from stream_reco.signals.observe import Counts, PlainCounts, named, tallied
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, HOUR_MS, RECENT, SHOWN_HALF_LIVES_MS, WINDOWS_MS
from stream_reco.signals.signals import Signals

_ACTIONS = len(ACTION_HALF_LIVES_MS)
_SHOWN = len(SHOWN_HALF_LIVES_MS)
_SAME_HALF_LIFE = np.array([ACTION_HALF_LIVES_MS.index(half_life) for half_life in SHOWN_HALF_LIVES_MS])
_WINDOWS = len(WINDOWS_MS)
_DAY = 4
"""Column of the half-life of a day among `ACTION_HALF_LIVES_MS`."""
_POPULARITY, _WINDOW, _SHARE = start_of("popularity"), start_of("windows"), start_of("share")
_VELOCITY, _AGE, _SHOWN_AT = start_of("velocity"), start_of("age"), start_of("shown")
_CONTEXT, _RECENCY, _FATIGUE = start_of("context"), start_of("recency"), start_of("fatigue")
_NO_ACTION = 16.0
"""log(1 + seconds) since the last action of a user without any: about three months."""
_RATE_ACTED, _RATE_SHOWN = 0.5, 10.0
"""Pseudo-counts (actions, impressions): the rate of an item that was hardly shown begins near 0.5 / 10."""
_RATE_OFFSET = 3.0
"""Added to the logarithm of a rate: log(0.5 / 10) = −3.0, so an item that was hardly shown has a feature near 0."""
_LIFT_ACTIONS = 3.0
"""Pseudo-count (actions) spread as the context's prior: an item with few actions has a lift near 1, its logarithm 0."""
_PRIOR_VALUE, _PRIOR_FIELD = 1.0, 10.0
"""Pseudo-counts (actions) of a context value and of all values of its field: no prior is 0."""
_SHARED_WINDOWS = 3
"""Half-lives, from the shortest on, whose share of all actions is a feature: 5 min, 15 min, 1 h."""


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
        out[_AGE + 1] = log1p(max(0, now) / 1000.0)
        return 0.0
    elapsed, number = max(0, now - items.stamps[slot]), items.numbers[slot]
    for kind in range(DECAYS):
        count = items.decayed[number, kind]
        decayed[kind] = count * np.exp2(-elapsed * DECAY_RATES[kind]) if count != 0.0 else 0.0
    for kind in range(_ACTIONS):
        out[_POPULARITY + kind] = log1p(decayed[kind])
    out[_POPULARITY + _ACTIONS] = log1p(items.totals[slot])
    for kind in range(_SHARED_WINDOWS):
        out[_SHARE + kind] = out[_POPULARITY + kind] - totals[kind]
    for window in range(_WINDOWS):
        out[_WINDOW + window] = log1p(windowed(items, slot, window, now))
    out[_VELOCITY] = out[_POPULARITY] - out[_POPULARITY + 1]
    out[_VELOCITY + 1] = out[_POPULARITY + 1] - out[_POPULARITY + 2]
    out[_VELOCITY + 2] = out[_POPULARITY + 2] - out[_POPULARITY + _DAY]
    first = items.first_seen[slot]
    out[_AGE] = log1p(max(0, now - first) / 60_000.0) if first >= 0 else 0.0
    out[_AGE + 1] = log1p(elapsed / 1000.0)
    for kind in range(_SHOWN):
        shown = decayed[_ACTIONS + kind]
        out[_SHOWN_AT + kind] = log1p(shown)
        acted = min(decayed[_SAME_HALF_LIFE[kind]], shown)
        out[_SHOWN_AT + _SHOWN + kind] = (
            math.log((acted + _RATE_ACTED) / (shown + _RATE_SHOWN)) + _RATE_OFFSET if shown > 0 else 0.0
        )
    clicks: float = decayed[_DAY]
    return clicks


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
    contexts: Lists,
    slot: int,
    request: _RequestValues,
    clicks: float,
    now: int,
    inside: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """How much more often than chance the item is acted on in each of the request's context values (log lift).

    `inside` float32[fields] is scratch.
    """
    if slot < 0:
        return
    fade, number = decay_of(contexts, slot, 1, now), contexts.numbers[slot]
    values, field_of, priors = request
    inside[:] = 0.0
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
def _request_values(counts: Counts, values: NDArray[np.int32], now: int) -> _RequestValues:
    field_of = np.full(counts.values.stamps.shape[0], -1, dtype=np.int8)
    for field in range(values.shape[0]):
        if values[field] >= 0:
            field_of[values[field]] = field
    return _RequestValues(values, field_of, _priors(counts, values, now))


@njit(cache=True, nogil=True)
def _recency_columns(
    recent: NDArray[np.int32], times: NDArray[np.int64], ages: NDArray[np.float32], now: int, out: NDArray[np.float32]
) -> None:
    known, lately = 0, 0
    while known < RECENT and recent[known] >= 0:
        lately += 1 if now - times[known] < HOUR_MS else 0
        known += 1
    out[_RECENCY] = log1p(max(0, now - times[0]) / 1000.0) if known else _NO_ACTION
    out[_RECENCY + 1] = log1p(known)
    out[_RECENCY + 2] = log1p(lately)
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
            out[place, _FATIGUE] = log1p(counts[found])
            out[place, _FATIGUE + 1] = 1.0
            out[place, _FATIGUE + 2] = log1p(max(0, now - times[found]) / 1000.0)


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
        totals[kind] = log1p(everything.decayed[number, kind] * np.exp2(-elapsed * DECAY_RATES[kind]))
    fading = np.zeros(SEEDS, dtype=np.float32)
    known = 0
    while known < SEEDS and recent[known] >= 0:
        fading[known] = 1.0 / (1.0 + max(0, now - times[known]) / HOUR_MS)
        known += 1
    order = np.argsort(slots)
    visits, visited, was_visited = listed_after(counts.pairs, recent, slots, order, now)
    steps, stepped, was_stepped = listed_after(counts.following, recent, slots, order, now)
    request, inside = _request_values(counts, values, now), np.empty(values.shape[0], dtype=np.float32)
    decayed = np.empty(DECAYS, dtype=np.float32)
    # Most candidates are in no list of a seed: what they have in common is computed once.
    common, nowhere = np.zeros(out.shape[1], dtype=np.float32), np.zeros((SEEDS, MOST_HALF_LIVES), dtype=np.float32)
    covisit_columns(nowhere, visited, known, fading, common)
    next_columns(nowhere, stepped, known, fading, common)
    _recency_columns(recent, times, ages, now, common)
    for place in range(slots.shape[0]):
        row = out[place]
        row[:] = common
        clicks = _item_columns(counts, slots[place], now, totals, decayed, row)
        if was_visited[place]:
            covisit_columns(visits[place], visited, known, fading, row)
        if was_stepped[place]:
            next_columns(steps[place], stepped, known, fading, row)
        _context_columns(counts.contexts, slots[place], request, clicks, now, inside, row)
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
    fill(signals.plain_counts, actions, (shown.slots, shown.counts, shown.times), values, now, slots, out)
    if len(disliked):
        disliked_columns(signals, disliked, slots, now, out)
    return out
