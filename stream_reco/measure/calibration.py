"""Whether predicted probabilities are the observed rates, over slices of equal mass along the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_reco.measure.scores import Floats


@dataclass(frozen=True)
class ReliabilityBin:
    """One slice: its mass (sum of weights), mean predicted probability and observed rate of positives."""

    mass: float
    predicted: float
    observed: float


def reliability(positives: Floats, negatives: Floats, predicted: Floats, bins: int = 10) -> list[ReliabilityBin]:
    """Return at most `bins` slices of about equal mass, by ascending prediction.

    float64[m] masses of positives, of negatives and mass × prediction, by ascending prediction. Slices of equal mass
    rather than of equal width (Nguyen and O'Connor 2015): click probabilities crowd into the first hundredth.
    """
    if bins < 1:
        raise ValueError(f"reliability in {bins} slices: there must be at least 1")
    mass = positives + negatives
    total = float(mass.sum())
    if total <= 0.0:
        return []
    middle = np.cumsum(mass) - mass / 2
    slices = np.minimum((middle / total * bins).astype(np.int64), bins - 1)
    sums = [np.bincount(slices, weights=column, minlength=bins) for column in (mass, predicted, positives)]
    return [ReliabilityBin(float(m), float(p / m), float(o / m)) for m, p, o in zip(*sums, strict=True) if m > 0.0]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Return Σ mass·|observed − predicted| / Σ mass (Naeini et al. 2015), None without mass."""
    total = sum(slice_.mass for slice_ in bins)
    if total <= 0.0:
        return None
    return sum(slice_.mass * abs(slice_.observed - slice_.predicted) for slice_ in bins) / total
