"""How high a ranking has what a user acts on next, by how much had been known of the user and of the item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

K = 10
BUCKETS = ("1", "2–3", "4–10", "later")
"""Which positive action of a user, or on an item, it is, counted from 1."""
_LAST = (1, 3, 10)
_GAINS = 1.0 / np.log2(np.arange(2, K + 2))


class RankQuality(NamedTuple):
    """What one ranking says of one target; ties are broken by lot, and these are the expectations."""

    hit: float
    """Whether the target is among the first K."""
    ndcg: float
    """NDCG@K with one relevant item."""
    auc: float
    """Share of the others that it is above."""


def bucket_of(number: int) -> str:
    """The bucket of the n-th event, counted from 1."""
    return BUCKETS[int(np.searchsorted(_LAST, number))]


def rank_quality(scores: NDArray[np.floating], target: int) -> RankQuality:
    """The quality of a ranking by `scores` [n] of n ≥ 2 items for the one at the place `target`."""
    above = int((scores > scores[target]).sum())
    tied = int((scores == scores[target]).sum())
    within = max(0, min(K - above, tied))
    gain = float(_GAINS[above : above + within].sum()) if within else 0.0
    return RankQuality(within / tied, gain / tied, 1.0 - (above + (tied - 1) / 2) / (len(scores) - 1))


class FirstEvents:
    """Sums of the quality of several rankings, by bucket of the user's events and of the item's."""

    def __init__(self) -> None:
        self.count = 0
        """Events that were evaluated."""
        self._weights: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._sums: dict[tuple[str, str, str], NDArray[np.float64]] = {}

    def add(self, of_user: int, of_item: int, found: Mapping[str, RankQuality], weight: float = 1.0) -> None:
        """Count an event, the `of_user`-th positive one of its user and `of_item`-th on its item, both from 1.

        `found`: what each ranking says of it; `weight`: how many events it stands for.
        """
        self.count += 1
        for key in (("all", "all"), ("user", bucket_of(of_user)), ("item", bucket_of(of_item))):
            self._weights[key] = self._weights.get(key, 0.0) + weight
            self._counts[key] = self._counts.get(key, 0) + 1
            for name, quality in found.items():
                sums = self._sums.setdefault((*key, name), np.zeros(3))
                sums += weight * np.array(quality)

    def as_dict(self) -> dict[str, dict[str, dict[str, object]]]:
        """Side ("all", "user", "item") → bucket → events, and of each ranking HR@10, NDCG@10 and AUC."""
        figures: dict[str, dict[str, dict[str, object]]] = {}
        for (side, bucket), weight in self._weights.items():
            entry: dict[str, object] = {"events": round(weight), "evaluated": self._counts[side, bucket]}
            for (of_side, of_bucket, name), sums in self._sums.items():
                if (of_side, of_bucket) == (side, bucket):
                    entry[name] = dict(zip(("hr@10", "ndcg@10", "auc"), (sums / weight).tolist(), strict=True))
            figures.setdefault(side, {})[bucket] = entry
        return figures
