"""Bayesian logistic regression on rows of a table, one example at a time.

Each coefficient has a normal posterior of its own (a diagonal covariance). An observation moves the score to where the
log-likelihood and the prior meet along its direction, and the variances as Laplace's approximation there has it
(Chapelle and Li, NIPS 2011, algorithm 3, for one observation; the line is solved exactly). A row is the mean and the
share of the prior variance that is gone, so that a row that is not there is the prior.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding import SGD
from stream_reco.model.content.pairs import Pairs
from stream_reco.model.fields import TableSpec

CONTENT_TABLE: Final = TableSpec("content", 2, SGD(lr=1.0), most_bytes=1 << 28, init_scale=0.0)
"""Steps are computed here; the table adds them. What a user likes of what items say is a row for each such value
that the user met, most of them seldom. Those seen long ago and seldom make way beyond 256 MB, or 5 million rows."""
_MOST_STEPS = 60
"""Halving alone finds a root within a thousand log-odds to the millionth in 30; Newton's method takes 3 to 6."""
_CLOSE_ENOUGH = 1e-6
_LEAST_LEFT = 1e-3
"""Share of its prior variance that a coefficient keeps: tastes change, and what cannot move cannot follow."""
_LEAST_INPUT = 1e-6
_MOST_LOG_ODDS = 30.0


class Observations(NamedTuple):
    """What became known of g requests, and the coefficients that speak of each."""

    places: NDArray[np.int64]
    """int64[m]: the row of each coefficient, one request behind the other."""
    inputs: NDArray[np.float32]
    """float32[m]: what each coefficient is multiplied by."""
    parts: NDArray[np.int8]
    """int8[m]"""
    bounds: NDArray[np.int64]
    """int64[g + 1]: where the coefficients of each request begin and end."""
    offsets: NDArray[np.float64]
    """float64[g]: log-odds that the rest of the model gives each."""
    labels: NDArray[np.float64]
    """float64[g], 0 or 1."""
    weights: NDArray[np.float64]
    """float64[g]"""
    undone: NDArray[np.float64]
    """float64[g]: weight of the opposite label, which was learned before and is taken back."""


@njit(cache=True, nogil=True)
def _sums(
    plain_pairs: tuple[NDArray[Any], ...], rows: NDArray[np.float32], priors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pairs = Pairs(*plain_pairs)
    count = pairs.bounds.shape[0] - 1
    means, variances = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for candidate in range(count):
        for at in range(pairs.bounds[candidate], pairs.bounds[candidate + 1]):
            weight = pairs.weights[at]
            means[candidate] += weight * rows[at, 0]
            variances[candidate] += weight * weight * priors[pairs.parts[at]] * (1.0 - rows[at, 1])
    return means, variances


def score(
    pairs: Pairs, rows: NDArray[np.float32], priors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and variances float32[n] of the candidates' log-odds, from the `rows` float32[m, 2] of their keys."""
    means, variances = _sums(tuple(pairs), rows, priors)
    return means, variances


@njit(cache=True, nogil=True)
def _sigmoid(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-min(max(x, -_MOST_LOG_ODDS), _MOST_LOG_ODDS))))


@njit(cache=True, nogil=True)
def _moved(start: float, variance: float, label: float, weight: float, undone: float) -> float:
    """Where s = start + variance · gradient(s), by Newton's method from the start.

    No gradient exceeds the weights, so that the root lies between two bounds, which every step draws closer. Where a
    step would leave them, or is not half as long as the last, as Newton's are not between the flat ends of the sigmoid,
    the distance between the bounds is halved instead (Press et al., Numerical Recipes, section 9.4).
    """
    most = variance * (weight + undone)
    low, high = start - most, start + most
    s, last = start, 2.0 * most
    for _ in range(_MOST_STEPS):
        p = _sigmoid(s)
        missing = start + variance * (weight * (label - p) - undone * (1.0 - label - p)) - s
        if missing > 0.0:
            low = s
        else:
            high = s
        slope = max(weight - undone, 0.0) * p * (1.0 - p)
        step = missing / (1.0 + variance * slope)
        if not low <= s + step <= high or abs(step) > 0.5 * last:
            step = 0.5 * (low + high) - s
        s, last = s + step, abs(step)
        if abs(step) < _CLOSE_ENOUGH:
            break
    return s


@njit(cache=True, nogil=True)
def _contrasts(
    plain_pairs: tuple[NDArray[Any], ...],
    places: NDArray[np.int64],
    starts: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int8], NDArray[np.int64]]:
    pairs = Pairs(*plain_pairs)
    rows = 0
    for place in places:
        rows = max(rows, place + 1)
    sums, part_of, last = np.zeros(rows), np.zeros(rows, np.int8), np.full(rows, -1, np.int64)
    found, inputs = np.empty(places.shape[0], np.int64), np.empty(places.shape[0], np.float32)
    parts, bounds = np.empty(places.shape[0], np.int8), np.zeros(starts.shape[0] + 1, np.int64)
    end = 0
    for one in range(starts.shape[0]):
        begin = end
        after = starts[one + 1] if one + 1 < starts.shape[0] else pairs.bounds.shape[0] - 1
        for candidate in range(starts[one], after):
            for at in range(pairs.bounds[candidate], pairs.bounds[candidate + 1]):
                place = places[at]
                if last[place] != one:
                    last[place], sums[place], part_of[place] = one, 0.0, pairs.parts[at]
                    found[end] = place
                    end += 1
                sums[place] += shares[candidate] * pairs.weights[at]
        kept = begin
        for at in range(begin, end):
            place = found[at]
            if abs(sums[place]) > _LEAST_INPUT:
                found[kept], inputs[kept], parts[kept] = place, sums[place], part_of[place]
                kept += 1
        end = kept
        bounds[one + 1] = end
    return found[:end], inputs[:end], parts[:end], bounds


def contrasts(
    pairs: Pairs, places: NDArray[np.int64], starts: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int8], NDArray[np.int64]]:
    """What the coefficients of requests are multiplied by: sums over their candidates, each by its `shares` float64[n].

    `places` int64[m] of the pairs' keys, `starts` int64[g] of the requests' candidates. Returns the first four fields
    of `Observations`.
    """
    found, inputs, parts, bounds = _contrasts(tuple(pairs), places, starts, shares)
    return found, inputs, parts, bounds


@njit(cache=True, nogil=True)
def _learn(rows: NDArray[np.float32], plain_observed: tuple[NDArray[Any], ...], priors: NDArray[np.float32]) -> None:
    observed = Observations(*plain_observed)
    for one in range(observed.labels.shape[0]):
        begin, end = observed.bounds[one], observed.bounds[one + 1]
        mean, variance = 0.0, 0.0
        for at in range(begin, end):
            row, x = rows[observed.places[at]], observed.inputs[at]
            mean += x * row[0]
            variance += x * x * priors[observed.parts[at]] * (1.0 - row[1])
        if variance <= 0.0:
            continue
        start = observed.offsets[one] + mean
        label, weigh, undone = observed.labels[one], observed.weights[one], observed.undone[one]
        s = _moved(start, variance, label, weigh, undone)
        gradient, p = (s - start) / variance, _sigmoid(s)
        information = max(weigh - undone, 0.0) * p * (1.0 - p)
        gain = information / (1.0 + information * variance)
        for at in range(begin, end):
            row, x = rows[observed.places[at]], observed.inputs[at]
            prior = priors[observed.parts[at]]
            left = prior * (1.0 - row[1])
            row[0] += left * x * gradient
            left -= left * left * x * x * gain
            row[1] = min(1.0 - left / prior, 1.0 - _LEAST_LEFT)


def learned(rows: NDArray[np.float32], observed: Observations, priors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[u, 2]: the `rows` after the observations in their order."""
    after = rows.copy()
    _learn(after, tuple(observed), priors)
    return after
