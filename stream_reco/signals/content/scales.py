"""Running means, deviations and quantiles of numeric features, by which their values are brought to one scale."""

from __future__ import annotations

import math
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
        # Lists: to read and write one number of an array takes three times as long.
        self._counts: list[int] = []
        self._renew_at: list[int] = []
        self._means: list[float] = []
        self._squares: list[float] = []
        self._samples = np.zeros((0, SAMPLE))
        self.scales = Scales(np.zeros(0), np.zeros(0), np.zeros((0, BUCKETS - 1)))

    def make_room(self, features: int) -> None:
        """For so many features."""
        missing = features - len(self._counts)
        if missing <= 0:
            return
        self._counts += [0] * missing
        self._renew_at += [1] * missing
        self._means += [0.0] * missing
        self._squares += [0.0] * missing
        if features > len(self._samples) or features > len(self.scales.means):
            size = max(16, features, 2 * len(self._samples))
            self._samples = grown(self._samples, size, 0.0)
            means, deviations, edges = self.scales
            self.scales = Scales(grown(means, size, 0.0), grown(deviations, size, 0.0), grown(edges, size, np.inf))

    def add(self, feature: int, value: float) -> bool:
        """Take a finite value in; returns whether the scales of the feature have changed."""
        count = self._counts[feature]
        self._counts[feature] = count + 1
        past = value - self._means[feature]
        mean = self._means[feature] = self._means[feature] + past / (count + 1)
        self._squares[feature] += past * (value - mean)
        place = count if count < SAMPLE else _random(count) % (count + 1)
        if place < SAMPLE:
            self._samples[feature, place] = value
        if count + 1 < self._renew_at[feature]:
            return False
        self._renew(feature)
        return True

    def _renew(self, feature: int) -> None:
        count = self._counts[feature]
        self._renew_at[feature] = max(count + 1, int(count * _RENEWED))
        scales = self.scales
        scales.means[feature] = self._means[feature]
        scales.deviations[feature] = math.sqrt(self._squares[feature] / count)
        known = self._samples[feature, : min(count, SAMPLE)]
        scales.edges[feature] = np.quantile(known, np.arange(1, BUCKETS) / BUCKETS, method="inverted_cdf")

    def parts(self) -> Parts:
        """What a replica needs."""
        return {name: getattr(self.scales, name)[: len(self._counts)].copy() for name in Scales._fields}

    def apply(self, parts: Parts) -> None:
        """Mirror `parts`."""
        for name in Scales._fields:
            getattr(self.scales, name)[: len(parts[name])] = parts[name]

    def state(self) -> Parts:
        """Everything that replicas do not need, for a checkpoint."""
        return {
            "counts": np.array(self._counts, dtype=np.int64),
            "renew_at": np.array(self._renew_at, dtype=np.int64),
            "running": np.array(self._means, dtype=np.float64),
            "squares": np.array(self._squares, dtype=np.float64),
            "samples": self._samples[: len(self._counts)].copy(),
        }

    def summary(self) -> Parts:
        """As `state`, but that the octiles stand in for the values: no other value of anybody is in it."""
        samples = np.zeros_like(self._samples[: len(self._counts)])
        for feature, count in enumerate(self._counts):
            size = min(count, SAMPLE)
            ranks = np.ceil(size * np.arange(1, BUCKETS) / BUCKETS) - 1
            octiles = np.minimum(np.searchsorted(ranks, np.arange(size)), BUCKETS - 2)
            samples[feature, :size] = self.scales.edges[feature][octiles]
        return self.state() | {"samples": samples}

    def restore(self, parts: Parts) -> None:
        """Become what `parts` and `state`, or `summary`, were taken from."""
        self.make_room(len(parts["counts"]))
        self._counts, self._renew_at = parts["counts"].tolist(), parts["renew_at"].tolist()
        self._means, self._squares = parts["running"].tolist(), parts["squares"].tolist()
        self._samples[: len(self._counts)] = parts["samples"]


def _random(number: int) -> int:
    """63 bits that look random, of a number (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    z = (number + 1) * _GOLDEN & _BITS
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _BITS
    return (z ^ z >> 31) >> 1
