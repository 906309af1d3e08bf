"""From ranked candidates to a slate: near-duplicates, diversity, caps, exploration."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.signals.catalogue import Catalogue

_POOL = 4
"""Diversity looks at so many times k candidates."""


class Chosen(NamedTuple):
    """One place of a slate."""

    place: int
    """Index among the candidates."""
    propensity: float | None = None
    """Probability in (0, 1] that this place shows this item; None where chance had no part in any place."""
    explored: bool = False


class Reranker:
    """Chooses and orders the items of a slate."""

    def __init__(self, settings: SlateSettings, seed: int) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(seed)

    def __call__(
        self, slots: NDArray[np.int32], scores: NDArray[np.float32], k: int, index: VectorIndex, catalogue: Catalogue
    ) -> list[Chosen]:
        """At most k places, best first, from candidates `slots` int32[n] with probabilities `scores` float32[n]."""
        ranked = _largest(scores, k if self._is_plain else len(scores))
        if self._is_plain:
            return [Chosen(int(place)) for place in ranked]
        ordered = self._diverse(ranked, slots, scores, k, index, catalogue)
        if self._settings.exploration == 0.0:
            return [Chosen(place) for place in ordered]
        return self._explore(ordered, ranked)

    @property
    def _is_plain(self) -> bool:
        settings = self._settings
        return (settings.diversity == 0.0 and settings.near_duplicate >= 1.0 and settings.cap_feature is None
                and settings.exploration == 0.0)

    def _diverse(
        self, ranked: NDArray[np.int64], slots: NDArray[np.int32], scores: NDArray[np.float32], k: int,
        index: VectorIndex, catalogue: Catalogue,
    ) -> list[int]:
        """Maximal marginal relevance (Carbonell and Goldstein 1998), with duplicates and caps as hard limits.

        Relevance is the score divided by the best one, similarity the cosine of the items' vectors.
        """
        settings = self._settings
        pool = [int(place) for place in ranked[: max(_POOL * k, k)]]
        vectors = _unit(index.vectors_of(slots[pool].astype(np.int64)))
        relevance = scores[pool] / max(float(scores[pool].max(initial=0.0)), 1e-12)
        nearest = np.zeros(len(pool), dtype=np.float32)
        taken: Counter[object] = Counter()
        left = np.ones(len(pool), dtype=np.bool_)
        chosen: list[int] = []
        while len(chosen) < k and left.any():
            value = (1.0 - settings.diversity) * relevance - settings.diversity * nearest
            best = int(np.argmax(np.where(left, value, -np.inf)))
            left[best] = False
            if nearest[best] > settings.near_duplicate or self._over_cap(catalogue, slots[pool[best]], taken):
                continue
            chosen.append(pool[best])
            nearest = np.maximum(nearest, vectors @ vectors[best])
        return chosen

    def _over_cap(self, catalogue: Catalogue, slot: int, taken: Counter[object]) -> bool:
        feature = self._settings.cap_feature
        value = (catalogue.features[slot] or {}).get(feature) if feature is not None else None
        if value is None:
            return False
        values = [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
        if any(taken[one] >= self._settings.cap for one in values):
            return True
        taken.update(values)
        return False

    def _explore(self, ordered: list[int], ranked: NDArray[np.int64]) -> list[Chosen]:
        """ε-greedy by place: with probability ε the place goes to a candidate outside the slate, each equally likely.

        The propensities are of the place given the places above it: 1 − ε for the ranked item, ε / m for one of m.
        """
        chance = self._settings.exploration
        kept = set(ordered)
        others = [int(place) for place in ranked if int(place) not in kept]
        slate: list[Chosen] = []
        for place in ordered:
            if not others:
                slate.append(Chosen(place, 1.0))
            elif self._rng.random() < chance:
                drawn = others.pop(int(self._rng.integers(len(others))))
                slate.append(Chosen(drawn, chance / (len(others) + 1), explored=True))
            else:
                slate.append(Chosen(place, 1.0 - chance))
        return slate


def _largest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Indices of the k largest scores, largest first, ties by index."""
    if k < len(scores):
        bound = np.partition(scores, len(scores) - k)[len(scores) - k]
        pool = np.flatnonzero(scores >= bound)
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:k]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))
