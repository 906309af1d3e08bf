"""How well heads predict what they are about to learn: calibration and logistic loss of the newest actions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.model.heads import HEADS, MOST_KINDS

_MEMORY = 1_000.0
"""About so much of the newest that was acted on counts."""
_PREDICTED, _OBSERVED, _LOSS, _MASS = range(4)


class HeadQuality:
    """Decayed sums by head. What comes later is counted when it comes, as by then it was predicted."""

    def __init__(self) -> None:
        self.sums = np.zeros((4, HEADS))
        """float64[4, HEADS]: predicted, observed, loss, and how much was acted on."""

    def add(
        self,
        heads: NDArray[np.int64],
        log_odds: NDArray[np.float64],
        positives: NDArray[np.float64],
        mass: NDArray[np.float64],
    ) -> None:
        """Count float64[g, u] predicted log-odds and positives of `heads` int64[u]; `mass` float64[g] was acted on."""
        new = mass[:, None]
        said = np.where(heads < MOST_KINDS, 1.0 / (1.0 + np.exp(-log_odds)), np.exp(log_odds))
        losses = new * np.logaddexp(0.0, log_odds) - positives * log_odds
        self.sums *= (1.0 - 1.0 / _MEMORY) ** max(float(mass.sum()), 0.0)
        sums = (new * said).sum(0), positives.sum(0), losses.sum(0), np.full(len(heads), mass.sum())
        self.sums[:, heads] += np.stack(sums)

    def calibration(self, head: int) -> float | None:
        """Predicted over observed; None where nothing was observed."""
        predicted, observed = self.sums[_PREDICTED, head], self.sums[_OBSERVED, head]
        return float(predicted / observed) if observed > 0 else None

    def observe(self, name: str, head: int, *, is_value: bool) -> None:
        """Update a head's metrics; a value head has no labels of 0 and 1, and so no share and no logistic loss."""
        calibration, mass = self.calibration(head), float(self.sums[_MASS, head])
        if calibration is not None:
            metrics.HEAD_CALIBRATION.labels(name).set(calibration)
        if mass > 0 and not is_value:
            metrics.HEAD_SHARE.labels(name).set(float(self.sums[_OBSERVED, head]) / mass)
            metrics.HEAD_LOGLOSS.labels(name).set(float(self.sums[_LOSS, head]) / mass)
