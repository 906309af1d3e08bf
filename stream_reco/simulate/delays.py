"""Delays of responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SECOND, _HOUR = 1000, 3_600_000


@dataclass(frozen=True)
class Delay:
    """A log-normal delay in ms: half are under `median_ms`, its logarithm spreads by `sigma`, none over `most_ms`."""

    median_ms: float
    sigma: float
    most_ms: int

    def __post_init__(self) -> None:
        """Raise ValueError for delays that could be negative."""
        if not (self.median_ms > 0 and self.sigma >= 0 and self.most_ms >= 1):
            raise ValueError(f"{self}: the median must be above 0, sigma at least 0 and the most at least 1 ms")

    def draw(self, rng: np.random.Generator) -> int:
        """Return one delay, from 1 to `most_ms`."""
        return int(np.clip(self.median_ms * rng.lognormal(0.0, self.sigma), 1, self.most_ms))


CLICK = Delay(median_ms=4 * _SECOND, sigma=1.0, most_ms=_HOUR)
PURCHASE = Delay(median_ms=6 * _HOUR, sigma=1.5, most_ms=7 * 24 * _HOUR)
