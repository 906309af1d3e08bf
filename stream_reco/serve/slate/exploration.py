"""Which candidates are worth a try for this user: chances to be explored, from how little is known of each.

The model's log-odds of a candidate are taken as the mean of a normal posterior. Its variance is that of two intercepts
which the model may not have learned yet, both with a normal prior: one of the item, in Laplace's approximation after n
impressions at a rate p, (1/τ² + n·p·(1 − p))⁻¹ (Bishop 2006, 4.5.1), and one of this user's own liking for it, which
shrinks with what the user has done. A candidate is drawn by the probability Φ that it beats the item whose place it
takes, as Thompson sampling would choose between the two (Thompson 1933); that is a closed form, so the chance is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_ITEM_VARIANCE = 1.0
"""Prior variance of an item's log-odds around the model's: a factor of e either way in two of three items."""
_TASTE_VARIANCE = 1.0
"""Prior variance of a user's own liking for an item, on the log-odds."""
_TASTE_ACTIONS = 10.0
"""Actions after which half of that variance is left: by then the history says more than the crowd."""
_LEAST_PROBABILITY = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""
_NEW_SHARE = 0.8
"""Share of the draws that goes to items with fewer than their first impressions, while there are any."""
_WORTH, _LEAST_WORTH = 0.5, 0.02
"""Sum, over the new items, of the probabilities that each is better than what it displaces, from which they get all of
that share; below, the part of it is the square of the ratio, and this at least. Else the only new item of a busy shop
has its first impressions with whoever comes next, and not with those who may like it."""
_EVEN_AMONG_NEW, _EVEN = 0.25, 0.1
"""Share of the draws, among new items and among all, that goes to each alike: a model that is wrong of an item before
it was shown would never find out, and off-policy estimates need every candidate to be possible."""
_LACKING_POWER = 2
"""The chance of a new item is divided by this power of the first impressions that it lacks (`completion.py`)."""
_NOTHING_TOLD = np.empty(0, dtype=np.float32)


class Evidence(NamedTuple):
    """What is known of the candidates of a request, besides their scores."""

    impressions: NDArray[np.int64]
    """int64[n]: how often each was shown so far; an action counts as an impression that nobody reported."""
    actions: int
    """Items that the user has acted on."""
    reported: NDArray[np.int64] | None = None
    """int64[n]: the same without those that nobody reported; None: all were."""
    variances: NDArray[np.float32] | None = None
    """float32[n]: of the log-odds, where what users and items are said to be tells it; None: only counts do."""

    def some(self, places: NDArray[np.int64]) -> Evidence:
        """The same of some of the candidates, in the order of `places`."""
        reported = None if self.reported is None else self.reported[places]
        variances = None if self.variances is None else self.variances[places]
        return Evidence(self.impressions[places], self.actions, reported, variances)


@njit(cache=True, nogil=True)
def _better(odds: NDArray[np.float64], variances: NDArray[np.float64], rival: int, out: NDArray[np.float64]) -> None:
    """Fill `out` with the probability that each candidate's log-odds are above those of candidate `rival`."""
    for place in range(odds.shape[0]):
        spread = math.sqrt(2.0 * (variances[place] + variances[rival]))
        out[place] = 0.5 * math.erfc((odds[rival] - odds[place]) / spread)


@njit(cache=True, nogil=True)
def _add(
    eligible: NDArray[np.int64],
    better: NDArray[np.float64],
    known: NDArray[np.bool_],
    mix: tuple[float, float],
    out: NDArray[np.float64],
) -> None:
    """Add to `out` chances that sum to the first of `mix`, the second a share of it evenly, over those not `known`."""
    total, count = 0.0, 0
    for place in range(eligible.shape[0]):
        if not known[place]:
            total += better[eligible[place]]
            count += 1
    weight, even = mix
    if total <= 0.0:
        even = 1.0
    for place in range(eligible.shape[0]):
        if not known[place]:
            by_merit = (1.0 - even) * better[eligible[place]] / total if even < 1.0 else 0.0
            out[place] += weight * (by_merit + even / count)


@njit(cache=True, nogil=True)
def _by_lacking(
    better: NDArray[np.float64], impressions: NDArray[np.int64], first_impressions: int
) -> NDArray[np.float64]:
    """`better` float64[n], for new items by how few of their first impressions they still lack; others keep theirs."""
    weighted = better.copy()
    for place in range(better.shape[0]):
        lacking = first_impressions - impressions[place]
        if lacking > 1:
            weighted[place] /= lacking**_LACKING_POWER
    return weighted


@njit(cache=True, nogil=True)
def _share_of_new(better: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    """The share of the draws that goes to those not `known`, by how likely they are better than what they displace."""
    merit, are_new = 0.0, False
    for place in range(better.shape[0]):
        if not known[place]:
            merit += better[place]
            are_new = True
    return _NEW_SHARE * max(min(merit / _WORTH, 1.0) ** 2, _LEAST_WORTH) if are_new else 0.0


@njit(cache=True, nogil=True)
def _variances(
    values: NDArray[np.float32], impressions: NDArray[np.int64], told: NDArray[np.float32], taste: float
) -> NDArray[np.float64]:
    """float64[n]: `told` float32[n or 0] where it is positive, else by how often each was shown, plus `taste`."""
    found = np.empty(values.shape[0])
    for place in range(values.shape[0]):
        if told.shape[0] and told[place] > 0.0:
            found[place] = told[place]
        else:
            p = min(max(float(values[place]), _LEAST_PROBABILITY), 1.0 - _LEAST_PROBABILITY)
            found[place] = 1.0 / (1.0 / _ITEM_VARIANCE + impressions[place] * p * (1.0 - p)) + taste
    return found


@njit(cache=True, nogil=True)
def _chances(
    values: NDArray[np.float32],
    impressions: NDArray[np.int64],
    variances: NDArray[np.float64],
    rival: int,
    eligible: NDArray[np.int64],
    first_impressions: int,
) -> NDArray[np.float64]:
    count = values.shape[0]
    odds, better = np.empty(count), np.empty(count)
    for place in range(count):
        p = min(max(float(values[place]), _LEAST_PROBABILITY), 1.0 - _LEAST_PROBABILITY)
        odds[place] = math.log(p / (1.0 - p))
    _better(odds, variances, rival, better)
    known = impressions[eligible] >= first_impressions
    chances = np.zeros(eligible.shape[0])
    share = _share_of_new(better[eligible], known)
    _add(eligible, better, np.zeros(eligible.shape[0], np.bool_), (1.0 - share, _EVEN), chances)
    if share > 0.0:
        merits = _by_lacking(better, impressions, first_impressions)
        _add(eligible, merits, known, (share, _EVEN_AMONG_NEW), chances)
    return chances


def chances(
    values: NDArray[np.float32],
    evidence: Evidence,
    rival: int,
    eligible: NDArray[np.int64],
    first_impressions: int,
) -> NDArray[np.float64]:
    """float64[e], positive, of sum 1: how likely each of the `eligible` int64[e] is the one that is explored.

    `values` float32[n] are the probabilities that candidates are ordered by; `rival` is the index of the candidate
    whose place is taken. Items shown less than `first_impressions` times share most of it, unless this user is unlikely
    to like any of them; those most that lack least.
    """
    found: NDArray[np.float64] = _chances(
        values, evidence.impressions, variances_of(values, evidence), rival, eligible, first_impressions
    )
    return found


def variances_of(values: NDArray[np.float32], evidence: Evidence) -> NDArray[np.float64]:
    """float64[n]: of the log-odds of each candidate, from what its content tells, else from how often it was shown."""
    taste = _TASTE_VARIANCE * _TASTE_ACTIONS / (_TASTE_ACTIONS + evidence.actions)
    told = _NOTHING_TOLD if evidence.variances is None else evidence.variances
    found: NDArray[np.float64] = _variances(values, evidence.impressions, told, taste)
    return found


def share_explored(explore: float, evidence: Evidence) -> float:
    """How much of a slate is explored: `explore`, less where content tells who likes what.

    What is left to find out is the deviation of the candidates' log-odds; without content it is about 1.
    """
    if evidence.variances is None or not len(evidence.variances):
        return explore
    told = evidence.variances[evidence.variances > 0.0]
    untold = len(evidence.variances) - len(told)
    return explore * float(np.sqrt(np.minimum(told, 1.0)).sum() + untold) / len(evidence.variances)
