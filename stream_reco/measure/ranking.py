"""How high the slate had what the user then chose: with one target an event, every metric is a function of its rank."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from stream_reco.events import Id


def rank_of(target: Id, slate: Iterable[Id]) -> int | None:
    """Return the place of `target` in a slate, 1 for the top, None if it is absent. 5 and "5" are different items."""
    return next((place for place, item in enumerate(slate, start=1) if item == target), None)


class RankingMetrics:
    """Hit rate, NDCG and MRR at `k`, over all events or the last `window` of them.

    With one relevant item the ideal DCG is 1, so NDCG@k of a target at rank r ≤ k is 1 / log2(r + 1) (Järvelin and
    Kekäläinen 2002, with gain 1), MRR@k is 1 / r, and all three are 0 for a target below k or nowhere.
    """

    def __init__(self, k: int = 10, window: int | None = None) -> None:
        if k < 1 or (window is not None and window < 1):
            raise ValueError(f"ranking metrics at k={k} over window={window}: both count from 1")
        self.k = k
        self._window = window
        # How many targets had each rank; index 0 counts the misses. Counts of whole numbers never drift.
        self._ranks = [0] * (k + 1)
        self._recent: deque[int] = deque()

    def add(self, rank: int | None) -> None:
        """Count one evaluated event; `rank` is the place of its target in the slate, from 1, None if absent."""
        if rank is not None and rank < 1:
            raise ValueError(f"a rank of {rank}: the top of a slate is rank 1, an absent target None")
        place = rank if rank is not None and rank <= self.k else 0
        self._ranks[place] += 1
        if self._window is None:
            return
        self._recent.append(place)
        if len(self._recent) > self._window:
            self._ranks[self._recent.popleft()] -= 1

    @property
    def count(self) -> int:
        """Return how many events the metrics are over."""
        return sum(self._ranks)

    @property
    def hit_rate(self) -> float | None:
        """Return the share of targets within the first k, None before the first event."""
        return self._mean([1.0] * self.k)

    @property
    def ndcg(self) -> float | None:
        """Return the mean NDCG@k, None before the first event."""
        return self._mean([1.0 / math.log2(rank + 1) for rank in range(1, self.k + 1)])

    @property
    def mrr(self) -> float | None:
        """Return the mean reciprocal rank within the first k, None before the first event."""
        return self._mean([1.0 / rank for rank in range(1, self.k + 1)])

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the metrics under the names of a replay's report."""
        at = self.k
        return {"evaluated": self.count, f"hr@{at}": self.hit_rate, f"ndcg@{at}": self.ndcg, f"mrr@{at}": self.mrr}

    def _mean(self, gains: list[float]) -> float | None:
        count = self.count
        total = sum(gain * hits for gain, hits in zip(gains, self._ranks[1:], strict=True))
        return total / count if count else None
