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

CONTENT_TABLE: Final = TableSpec("content", 2, SGD(lr=1.0), init_scale=0.0)
"""Steps are computed here; the table adds them."""
_NEWTON_STEPS = 8
_LEAST_LEFT = 1e-3
"""Share of its prior variance that a coefficient keeps: tastes change, and what cannot move cannot follow."""
_MOST_LOG_ODDS = 30.0


class Observations(NamedTuple):
    """What became known of g first candidates."""

    candidates: NDArray[np.int64]
    """int64[g]: which candidates they are."""
    offsets: NDArray[np.float64]
    """float64[g]: log-odds that the rest of the model gives each."""
    labels: NDArray[np.float64]
    """float64[g], 0 or 1."""
    weights: NDArray[np.float64]
    """float64[g]"""
    undone: NDArray[np.float64]
    """float64[g]: weight of the opposite label, which was learned before and is taken back."""


class _Local(NamedTuple):
    """Coefficients of a batch, each once."""

    rows: NDArray[np.float32]
    """float32[u, 2]"""
    places: NDArray[np.int64]
    """int64[m]: the row of each coefficient."""
    weights: NDArray[np.float32]
    parts: NDArray[np.int8]
    bounds: NDArray[np.int64]


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
    """Where s = start + variance · gradient(s), by Newton's method from the start."""
    s = start
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(s)
        gradient = weight * (label - p) - undone * (1.0 - label - p)
        slope = max(weight - undone, 0.0) * p * (1.0 - p)
        step = (start + variance * gradient - s) / (1.0 + variance * slope)
        s += step
        if abs(step) < 1e-6:
            break
    return s


@njit(cache=True, nogil=True)
def _learn(
    plain_local: tuple[NDArray[Any], ...], plain_observed: tuple[NDArray[Any], ...], priors: NDArray[np.float32]
) -> None:
    local, observed = _Local(*plain_local), Observations(*plain_observed)
    for one in range(observed.candidates.shape[0]):
        candidate = observed.candidates[one]
        begin, end = local.bounds[candidate], local.bounds[candidate + 1]
        mean, variance = 0.0, 0.0
        for at in range(begin, end):
            row, weight = local.rows[local.places[at]], local.weights[at]
            mean += weight * row[0]
            variance += weight * weight * priors[local.parts[at]] * (1.0 - row[1])
        if variance <= 0.0:
            continue
        start = observed.offsets[one] + mean
        label, weigh, undone = observed.labels[one], observed.weights[one], observed.undone[one]
        s = _moved(start, variance, label, weigh, undone)
        gradient, p = (s - start) / variance, _sigmoid(s)
        information = max(weigh - undone, 0.0) * p * (1.0 - p)
        gain = information / (1.0 + information * variance)
        for at in range(begin, end):
            row, weight = local.rows[local.places[at]], local.weights[at]
            prior = priors[local.parts[at]]
            left = prior * (1.0 - row[1])
            row[0] += left * weight * gradient
            left -= left * left * weight * weight * gain
            row[1] = min(1.0 - left / prior, 1.0 - _LEAST_LEFT)


def learned(
    pairs: Pairs,
    keys: NDArray[np.int64],
    rows: NDArray[np.float32],
    observed: Observations,
    priors: NDArray[np.float32],
) -> NDArray[np.float32]:
    """float32[u, 2]: the `rows` of the distinct `keys` int64[u], ascending, after the observations in their order."""
    after = rows.copy()
    places = np.searchsorted(keys, pairs.keys)
    local = _Local(after, places, pairs.weights, pairs.parts, pairs.bounds)
    _learn(tuple(local), tuple(observed), priors)
    return after
