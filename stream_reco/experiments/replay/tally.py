"""The counts of a replay: quality of served slates, freshness, and time by stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from stream_reco.measure import BinaryMetrics, Freshness, RankingMetrics, RollingBinaryMetrics

K = 10
RECENT_EVENTS = 10_000
RECENT_EXAMPLES = 50_000


class ReplayTally:
    """All counts of one replay; the engine reports its predictions to it before it learns."""

    def __init__(self) -> None:
        self.events = 0
        self.duplicates = 0
        self.syncs = 0
        self.dead_letters: Counter[str] = Counter()
        self.ranking = RankingMetrics(K)
        self.recent_ranking = RankingMetrics(K, RECENT_EVENTS)
        self.quality = BinaryMetrics()
        self.recent_quality = RollingBinaryMetrics(RECENT_EXAMPLES)
        self.freshness = Freshness()
        self.sampled = False
        """Whether any negative was sampled rather than shown."""
        self.seconds: Counter[str] = Counter()
        """By stage: ingest (labels, signals and training), sync; recommend: of all threads that rank, together."""
        self._started = time.perf_counter()

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Count float32[n] examples that the trainer is about to learn from."""
        self.sampled |= sampled
        self.quality.add(predictions, labels, weights)
        self.recent_quality.add(predictions, labels, weights)

    def ranked(self, rank: int | None) -> None:
        """Count one evaluated event."""
        self.ranking.add(rank)
        self.recent_ranking.add(rank)

    @property
    def elapsed(self) -> float:
        """Seconds since the replay began."""
        return time.perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start  # type: ignore[assignment] # a Counter of seconds
