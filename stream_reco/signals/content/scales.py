"""Running means, deviations and quantiles of numeric features, by which their values are brought to one scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts, grown

BUCKETS = 8
"""Quantile buckets: octiles, each of which has an eighth of the values in it."""
SAMPLE = 256
"""Values of a feature that its quantiles are taken from: the rank of an octile is right within some 3 %."""
_RENEWED = 1.25
"""Scales are renewed when so many times as many values have come as at the last time."""
_GOLDEN = 0x9E3779B97F4A7C15
_BITS = (1 << 64) - 1


class Scales(NamedTuple):
    """What kernels read, by number of the feature."""

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    """0 where all values were alike."""
    edges: NDArray[np.float64]
    """float64[features, BUCKETS − 1], ascending; infinite where nothing is known."""


class RunningScales:
    """Learns `Scales` from values as they come; they change at 1, 2, 3, 4, 5, 7, 9, … values only.

    Means and deviations are Welford's (Technometrics 1962), quantiles of a reservoir (Vitter 1985, algorithm R) whose
    choices depend on how many values came before, so that the same values give the same scales.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(0, dtype=np.int64)
        self._renew_at = np.zeros(0, dtype=np.int64)
        self._means, self._squares = np.zeros(0), np.zeros(0)
        self._samples = np.zeros((0, SAMPLE))
        self.scales = Scales(np.zeros(0), np.zeros(0), np.zeros((0, BUCKETS - 1)))

    def make_room(self, features: int) -> None:
        """For so many features."""
        if features <= len(self._counts):
            return
        size = max(features, 2 * len(self._counts))
        self._counts, self._renew_at = grown(self._counts, size, 0), grown(self._renew_at, size, 1)
        self._means, self._squares = grown(self._means, size, 0.0), grown(self._squares, size, 0.0)
        self._samples = grown(self._samples, size, 0.0)
        means, deviations, edges = self.scales
        self.scales = Scales(grown(means, size, 0.0), grown(deviations, size, 0.0), grown(edges, size, np.inf))

    def add(self, feature: int, value: float) -> bool:
        """Take a finite value in; returns whether the scales of the feature have changed."""
        count = int(self._counts[feature])
        self._counts[feature] = count + 1
        past = value - self._means[feature]
        self._means[feature] += past / (count + 1)
        self._squares[feature] += past * (value - self._means[feature])
        place = count if count < SAMPLE else _random(count) % (count + 1)
        if place < SAMPLE:
            self._samples[feature, place] = value
        if count + 1 < self._renew_at[feature]:
            return False
        self._renew(feature)
        return True

    def _renew(self, feature: int) -> None:
        count = int(self._counts[feature])
        self._renew_at[feature] = max(count + 1, int(count * _RENEWED))
        scales = self.scales
        scales.means[feature] = self._means[feature]
        scales.deviations[feature] = np.sqrt(self._squares[feature] / count)
        known = self._samples[feature, : min(count, SAMPLE)]
        scales.edges[feature] = np.quantile(known, np.arange(1, BUCKETS) / BUCKETS, method="inverted_cdf")

    def parts(self) -> Parts:
        """What a replica needs."""
        return {name: getattr(self.scales, name).copy() for name in Scales._fields}

    def apply(self, parts: Parts) -> None:
        """Mirror `parts`."""
        self.scales = Scales(*(np.array(parts[name]) for name in Scales._fields))

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        learned = {
            "counts": self._counts,
            "renew_at": self._renew_at,
            "running": self._means,
            "squares": self._squares,
            "samples": self._samples,
        }
        return self.parts() | {name: array.copy() for name, array in learned.items()}

    def restore(self, parts: Parts) -> None:
        """Become what `state` was taken from."""
        self.apply(parts)
        self._counts, self._renew_at = np.array(parts["counts"]), np.array(parts["renew_at"])
        self._means, self._squares = np.array(parts["running"]), np.array(parts["squares"])
        self._samples = np.array(parts["samples"])


def _random(number: int) -> int:
    """63 bits that look random, of a number (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    z = (number + 1) * _GOLDEN & _BITS
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _BITS
    return (z ^ z >> 31) >> 1
