"""Percentiles of durations in bounded memory, such as from a click to the first answer that knows of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST, _MOST = 1e-4, 1e9


class Freshness:
    """Counts of seconds in buckets whose width is a fixed share of their value.

    Percentiles are within `relative_error` of exact for durations of 0.1 ms to 30 years (DDSketch, Masson, Rim and Lee,
    VLDB 2019, with a fixed range); what is shorter counts as 0, what is longer as the longest.
    """

    def __init__(self, relative_error: float = 0.01) -> None:
        if not 0.0 < relative_error < 1.0:
            raise ValueError(f"a relative error of {relative_error}: give a share between 0 and 1")
        self._gamma = (1.0 + relative_error) / (1.0 - relative_error)
        self._counts: NDArray[np.int64] = np.zeros(self._bucket(np.array([_MOST]))[0] + 1, dtype=np.int64)

    def add(self, seconds: ArrayLike) -> None:
        """Count one duration or float[n] of them. Raises `ValueError` for NaN, and then counts nothing."""
        values = np.atleast_1d(np.asarray(seconds, dtype=np.float64))
        if np.isnan(values).any():
            raise ValueError("a duration of NaN seconds: leave out what was not measured")
        np.add.at(self._counts, self._bucket(values), 1)

    @property
    def count(self) -> int:
        """Return how many durations were added."""
        return int(self._counts.sum())

    def percentile(self, percent: float) -> float | None:
        """Return the value, in seconds, that `percent` of the durations do not exceed; None before the first one."""
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"the {percent} percentile: give 0 to 100")
        count = self.count
        if not count:
            return None
        rank = max(1, math.ceil(percent / 100.0 * count))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return 0.0 if bucket == 0 else _LEAST * self._gamma ** (bucket - 1) * 2.0 * self._gamma / (1.0 + self._gamma)

    def as_dict(self) -> dict[str, float | None]:
        """Return the percentiles under the names of a replay's report."""
        return {"p50": self.percentile(50), "p99": self.percentile(99)}

    def _bucket(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the bucket of each duration: 0 below the least, else i where it is in [γ^(i−1), γ^i) of the least."""
        within = np.clip(seconds, _LEAST, _MOST)
        buckets = 1 + np.floor(np.log(within / _LEAST) / math.log(self._gamma)).astype(np.int64)
        return np.where(seconds < _LEAST, 0, buckets)
