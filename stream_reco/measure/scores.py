"""Weighted counts of labels by score, in bounded memory: what AUC and calibration are read from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ScoreCounts:
    """Mass of positives and of negatives at every score, exact until there are more than `bins` different scores.

    Beyond that neighbours are merged so that no merged bin has more than 2 / `bins` of (share of positives + share of
    negatives). Pairs within a bin count as ties, so one merge moves AUC by at most about 1 / `bins`, whatever the
    distribution of the scores; bins of fixed width would be blind where all scores lie within a thousandth.
    """

    def __init__(self, bins: int = 8192) -> None:
        if bins < 2:
            raise ValueError(f"{bins} bins of scores: ranks need at least 2")
        self._bins = bins
        # float64[4, m]: score, mass of positives, mass of negatives, mass × score.
        self._kept: Floats = np.empty((4, 0))
        self._waiting: list[Floats] = []
        self._waiting_size = 0

    def add(self, scores: Floats, labels: Floats, weights: Floats) -> None:
        """Count float64[n] scores whose labels (0 or 1) have these weights."""
        self._waiting.append(np.stack([scores, weights * labels, weights * (1.0 - labels), weights * scores]))
        self._waiting_size += len(scores)
        if self._waiting_size >= 4 * self._bins:
            self._kept, self._waiting, self._waiting_size = self._merged_rows(), [], 0

    @property
    def nbytes(self) -> int:
        """Return the bytes that the counts take."""
        return self._kept.nbytes + sum(waiting.nbytes for waiting in self._waiting)

    def table(self) -> tuple[Floats, Floats, Floats]:
        """Return mass of positives, of negatives, and mass × score: float64[m] each, by ascending score."""
        # Nothing is kept of this: figures must not depend on how often somebody looks at them.
        rows = self._merged_rows()
        return rows[1], rows[2], rows[3]

    def _merged_rows(self) -> Floats:
        """Return float64[4, m]: what is kept and what waits, by ascending score, in no more than the bins."""
        if not self._waiting:
            return self._kept
        rows = np.concatenate([self._kept, *self._waiting], axis=1)
        rows = rows[:, np.argsort(rows[0], kind="stable")]
        rows = _merged(rows, np.append(True, rows[0, 1:] != rows[0, :-1]))
        if rows.shape[1] > self._bins:
            rows = _merged(rows, self._starts(rows))
        return rows

    def _starts(self, rows: Floats) -> NDArray[np.bool_]:
        """Return bool[m]: where a new bin starts, so that bins share the mass of both labels evenly."""
        masses = rows[1:3] / np.maximum(rows[1:3].sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        share = masses.sum(axis=0)
        before = np.cumsum(share) - share
        number = np.minimum((before / max(share.sum(), 1e-300) * self._bins).astype(np.int64), self._bins - 1)
        return np.append(True, number[1:] != number[:-1])


def _merged(rows: Floats, starts: NDArray[np.bool_]) -> Floats:
    """Sum the masses of each run of columns that begins at `starts`; a run keeps its highest score."""
    at = np.flatnonzero(starts)
    sums = np.add.reduceat(rows[1:], at, axis=1)
    return np.concatenate([rows[:1, np.append(at[1:], rows.shape[1]) - 1], sums])


def auc(positives: Floats, negatives: Floats) -> float | None:
    """Return the weighted area under the ROC curve, None unless both labels have mass.

    float64[m] masses by ascending score. It is the chance that a positive's score is above a negative's, ties counting
    half: the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    total = float(positives.sum() * negatives.sum())
    if total <= 0.0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / total)
