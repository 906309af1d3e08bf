"""How good predicted probabilities are: AUC, log loss and calibration. Predict first, learn after, then add here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stream_reco.measure.calibration import ReliabilityBin, expected_calibration_error, reliability
from stream_reco.measure.scores import Floats, ScoreCounts, auc

# A float32 sigmoid says 0 or 1 where it means "within 1e-7 of it"; the loss of such a mistake must stay finite.
PROBABILITY_FLOOR = 1e-7


class BinaryMetrics:
    """Weighted metrics over everything added, in bounded memory; None where they are not defined yet.

    AUC is exact until there are more than `bins` different scores and within 1e-3 of exact after that.
    """

    def __init__(self, bins: int = 8192) -> None:
        self._scores = ScoreCounts(bins)
        self.count = 0
        self.weight = 0.0
        self.predicted = 0.0
        self.observed = 0.0
        self._loss = 0.0

    def add(self, predicted: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Count float[n] probabilities, their labels (0 or 1) and weights (default 1).

        Raises `ValueError` for what is no probability, label or weight, and then counts nothing.
        """
        scores, truth, mass = _checked(predicted, labels, weights)
        if not len(scores):
            return
        clipped = np.clip(scores, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        losses = np.where(truth > 0.0, np.log(clipped), np.log1p(-clipped))
        self.count += len(scores)
        self.weight += float(mass.sum())
        self.predicted += float(mass @ scores)
        self.observed += float(mass @ truth)
        self._loss -= float(mass @ losses)
        self._scores.add(scores, truth, mass)

    @property
    def auc(self) -> float | None:
        """Return the chance that a positive scores above a negative, None until there are both."""
        positives, negatives, _ = self._scores.table()
        return auc(positives, negatives)

    @property
    def logloss(self) -> float | None:
        """Return the mean −log p of the true label, in nats; p is kept 1e-7 away from 0 and from 1."""
        return self._loss / self.weight if self.weight > 0.0 else None

    @property
    def calibration(self) -> float | None:
        """Return Σ predicted / Σ observed: 1 is calibrated, above it too high; None before the first positive."""
        return self.predicted / self.observed if self.observed > 0.0 else None

    def reliability(self, bins: int = 10) -> list[ReliabilityBin]:
        """Return predicted against observed rates in slices of about equal mass."""
        return reliability(*self._scores.table(), bins=bins)

    def ece(self, bins: int = 10) -> float | None:
        """Return the expected calibration error over `reliability(bins)`."""
        return expected_calibration_error(self.reliability(bins))

    def as_dict(self) -> dict[str, float | None]:
        """Return the metrics under the names of a replay's report."""
        return {"auc": self.auc, "logloss": self.logloss, "calibration": self.calibration}

    @property
    def nbytes(self) -> int:
        """Return the bytes that the counts by score take."""
        return self._scores.nbytes


class RollingBinaryMetrics:
    """The same metrics over the last `window` examples, exactly."""

    def __init__(self, window: int) -> None:
        if window < 2:
            raise ValueError(f"a window of {window} examples: ranks need at least 2")
        self._window = window
        self._recent: Floats = np.empty((3, window))
        self._added = 0

    def add(self, predicted: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Count float[n] examples as `BinaryMetrics.add` does; the oldest leave."""
        rows = np.stack(_checked(predicted, labels, weights))
        last = rows[:, -self._window :]
        at = np.arange(self._added + rows.shape[1] - last.shape[1], self._added + rows.shape[1])
        self._recent[:, at % self._window] = last
        self._added += rows.shape[1]

    def metrics(self) -> BinaryMetrics:
        """Return the metrics of the window."""
        metrics = BinaryMetrics(bins=self._window)
        metrics.add(*self._recent[:, : min(self._added, self._window)])
        return metrics


def _checked(predicted: ArrayLike, labels: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    scores = np.atleast_1d(np.asarray(predicted, dtype=np.float64))
    truth = np.atleast_1d(np.asarray(labels, dtype=np.float64))
    mass = np.ones_like(scores) if weights is None else np.atleast_1d(np.asarray(weights, dtype=np.float64))
    if scores.ndim != 1 or not scores.shape == truth.shape == mass.shape:
        raise ValueError(f"{scores.shape} predictions, {truth.shape} labels and {mass.shape} weights: give one of each")
    for name, values, good in (
        ("predictions are probabilities from 0 to 1", scores, (scores >= 0.0) & (scores <= 1.0)),
        ("labels are 0 or 1", truth, (truth == 0.0) | (truth == 1.0)),
        ("weights are finite and not negative", mass, np.isfinite(mass) & (mass >= 0.0)),
    ):
        if not good.all():
            raise ValueError(f"{name}, not {values[~good][0]}")
    return scores, truth, mass
