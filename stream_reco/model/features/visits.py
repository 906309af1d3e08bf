"""How often a candidate came after the newest items of a user: co-visits and successions."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import start_of
from stream_reco.signals.decayed_lists import EMPTY, Lists, decay_of

SEEDS = 8
"""Newest items of the user that co-visits and successions are looked up for."""
_LEAST_SHARE = 1e-3
"""Added to a share before the logarithm, so that a share of 0 is finite and less than a thousandth tells nothing."""
_SHARE_OFFSET = 7.0
"""Added to the logarithm of a share: log(1e-3) = −6.9, so a share of 0 gives about 0."""
_COVISIT_MASS = 5.0
"""Pseudo-count (weight of co-visits): what a share of a list that holds little is divided by at least."""
_NEXT_MASS_20M, _NEXT_MASS = 2.0, 3.0
"""Pseudo-counts (successions) of the same kind, at the half-life of 20 minutes and at that of 2 hours."""
MOST_HALF_LIVES = 3
"""Of the lists of items: successions have the most."""
_SINGLE_SEEDS = 3
"""Newest items of the user whose co-visits are features of their own, besides those of all seeds together."""
_COVISITS, _NEXT = start_of("covisits"), start_of("next")


@njit(cache=True, nogil=True)
def log1p(x: float) -> float:
    # math.log1p takes thrice as long, for digits beyond those of a float32 feature.
    return math.log(1.0 + x)


@njit(cache=True, nogil=True)
def listed_after(
    lists: Lists, recent: NDArray[np.int32], slots: NDArray[np.int32], order: NDArray[np.int64], now: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Weights as of `now` of each candidate in the list of each seed, and of all that the list holds.

    float32[n, seeds, half-lives] and float32[seeds, half-lives], and bool[n]: which candidates are in any list.
    `order` sorts the slots.
    """
    kinds = lists.rates.shape[0]
    found = np.zeros((slots.shape[0], SEEDS, kinds), dtype=np.float32)
    masses = np.zeros((SEEDS, kinds), dtype=np.float32)
    is_listed = np.zeros(slots.shape[0], dtype=np.bool_)
    # Few of the listed items are candidates: to look the lists up among the candidates is much less work than the
    # other way round.
    ascending = slots[order]
    fades = np.empty(kinds, dtype=np.float32)
    for seed in range(SEEDS):
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
                is_listed[order[at]] = True
                at += 1
    return found, masses, is_listed


@njit(cache=True, nogil=True)
def _log_share(share: float) -> float:
    return math.log(share + _LEAST_SHARE) + _SHARE_OFFSET


@njit(cache=True, nogil=True)
def covisit_columns(
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
            out[_COVISITS + 2 * seed] = log1p(quick)
            out[_COVISITS + 2 * seed + 1] = log1p(steady)
        if seed == 0:
            first = part
        fast += quick * fading[seed]
        slow += steady * fading[seed]
        share += part * fading[seed]
        best = max(best, part)
    out[_COVISITS + 6] = log1p(fast)
    out[_COVISITS + 7] = log1p(slow)
    out[_COVISITS + 8] = _log_share(first)
    out[_COVISITS + 9] = _log_share(share)
    out[_COVISITS + 10] = _log_share(best)


@njit(cache=True, nogil=True)
def next_columns(
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
        out[_NEXT + kind] = log1p(steps[0, kind])
    out[_NEXT + 3] = log1p(every)
    out[_NEXT + 4] = _log_share(steps[0, 0] / (masses[0, 0] + _NEXT_MASS_20M))
    out[_NEXT + 5] = _log_share(steps[0, 1] / (masses[0, 1] + _NEXT_MASS))
    out[_NEXT + 6] = _log_share(share)
