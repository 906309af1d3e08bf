"""What a set of clustered actions says: medoids and importance.

PinnerSage (Pal et al., KDD 2020), sections 3.2 and 3.3: a cluster is represented by its medoid, and it is as important
as its actions are many and recent, Σ exp(−λ·age).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from stream_reco.interests.settings import DAY_MS
from stream_reco.interests.ward import Indices, Labels, Matrix

_ROUNDING = 1e-12
"""Squared distances that differ by less than this, relative to 1 and to themselves, are equal."""


@njit(cache=True, nogil=True)
def choose_medoids(points: Matrix, labels: Labels, clusters: int) -> Indices:
    """Row numbers int64[clusters] of the medoids of points float64[n, d] with labels int32[n] from 0, none skipped."""
    # Σ|x − y|² over a cluster is least where |x − mean| is least, and the mean needs n distances in place of n².
    n, dim = points.shape
    mean = np.zeros((clusters, dim))
    size = np.zeros(clusters)
    for i in range(n):
        size[labels[i]] += 1.0
        for c in range(dim):
            mean[labels[i], c] += points[i, c]
    for label in range(clusters):
        for c in range(dim):
            mean[label, c] /= size[label]
    best = np.full(clusters, np.inf)
    medoid = np.full(clusters, -1, np.int64)
    for i in range(n):
        label = labels[i]
        spread = 0.0
        for c in range(dim):
            gap = points[i, c] - mean[label, c]
            spread += gap * gap
        # Equal but for rounding is equal: of two actions the one that comes first stays.
        if medoid[label] < 0 or spread < best[label] - _ROUNDING * (1.0 + best[label]):
            best[label] = spread
            medoid[label] = i
    return medoid


def medoids(points: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Indices:
    """The member of each cluster with the least sum of squared distances to the others: int64[clusters] row numbers.

    `points` [n, d]; `labels` [n] from 0, none skipped, as `cut` gives them. Of equals the first. Raises ValueError if
    the shapes differ or a label is skipped.
    """
    points = np.array(points, np.float64, order="C")
    labels = np.array(labels, np.int32, order="C")
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"points {points.shape} and labels {labels.shape} do not match; each point has one label")
    names = np.unique(labels)
    if not np.array_equal(names, np.arange(len(names))):
        raise ValueError(f"labels are {names}; they must count from 0 without a gap")
    chosen: Indices = choose_medoids(points, labels, len(names))
    return chosen


def importance(times: npt.NDArray[np.int64], now: int, decay_per_day: float = 0.01) -> float:
    """Σ exp(−λ·age in days) over the times int64[n] (ms) of a cluster's actions, as of `now` (ms)."""
    ages = (now - np.asarray(times, np.int64)) / DAY_MS
    return float(np.exp(-decay_per_day * ages).sum())
