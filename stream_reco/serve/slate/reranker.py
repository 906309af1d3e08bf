"""From ranked candidates to a slate: near-duplicates, diversity, caps, newcomers, exploration."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.signals.catalogue import Catalogue

_POOL = 4
"""Diversity looks at 4 k candidates at once, and at the next 4 k where hard limits left too few."""
_LEAST_DIVISOR = 1e-12
"""What a best score or a vector's length of 0 is divided by in its place."""

NOBODY = np.empty(0, dtype=np.int64)


class Chosen(NamedTuple):
    """One place of a slate."""

    place: int
    """Index among the candidates."""
    propensity: float | None = None
    """Probability in (0, 1] that this place shows this item, given the places above; None without exploration."""
    explored: bool = False
    newcomer: bool = False


class _Slate:
    """What was taken for a slate so far, and what the hard limits still allow."""

    def __init__(
        self, settings: SlateSettings, slots: NDArray[np.int32], vectors: NDArray[np.float32], catalogue: Catalogue
    ) -> None:
        self._settings = settings
        self._slots = slots
        self._vectors = vectors
        self._catalogue = catalogue
        self._taken: Counter[str] = Counter()
        self.nearest = np.zeros(len(slots), dtype=np.float32)
        """float32[n]: the largest cosine of each candidate to what was taken, at least 0."""

    def allows(self, place: int) -> bool:
        """Whether neither the cap nor a near-duplicate forbids a candidate."""
        settings = self._settings
        if settings.near_duplicate < 1.0 and self.nearest[place] > settings.near_duplicate:
            return False
        return all(self._taken[value] < settings.cap for value in self._values(place))

    def take(self, place: int) -> None:
        self._taken.update(self._values(place))
        self.nearest = np.maximum(self.nearest, self._vectors @ self._vectors[place])

    def _values(self, place: int) -> set[str]:
        feature = self._settings.cap_feature
        value = None if feature is None else (self._catalogue.features[self._slots[place]] or {}).get(feature)
        if value is None:
            return set()
        return {str(one) for one in value} if isinstance(value, (list, tuple)) else {str(value)}


class Reranker:
    """Chooses and orders the items of a slate."""

    def __init__(self, settings: SlateSettings, seed: int) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(seed)

    def __call__(
        self,
        slots: NDArray[np.int32],
        scores: NDArray[np.float32],
        k: int,
        index: VectorIndex,
        catalogue: Catalogue,
        newcomers: NDArray[np.int64] = NOBODY,
    ) -> list[Chosen]:
        """At most k places, best first, from candidates `slots` int32[n] with probabilities `scores` float32[n].

        `newcomers` int64[m] are the indices of new candidates, those first that shall be shown first.
        """
        ranked = _largest(scores, k if self._is_plain else len(scores))
        if self._is_plain or k <= 0:
            return self._with_newcomers(ranked[: max(k, 0)].tolist(), newcomers, k, None)
        slate = _Slate(self._settings, slots, _unit(index.vectors_of(slots.astype(np.int64))), catalogue)
        ordered = self._diverse(ranked, scores, k, slate)
        chosen = self._with_newcomers(ordered, newcomers, k, slate)
        return self._explore(chosen, ranked, slate) if self._settings.exploration > 0.0 else chosen

    def places_for_newcomers(self, k: int) -> int:
        """How many of k places may go to newcomers."""
        return int(max(k, 0) * self._settings.newcomers)

    @property
    def _is_plain(self) -> bool:
        settings = self._settings
        return (
            settings.diversity == 0.0
            and settings.near_duplicate >= 1.0
            and settings.cap_feature is None
            and settings.exploration == 0.0
        )

    def _diverse(self, ranked: NDArray[np.int64], scores: NDArray[np.float32], k: int, slate: _Slate) -> list[int]:
        """Maximal marginal relevance (Carbonell and Goldstein 1998), with duplicates and caps as hard limits.

        Relevance is the score divided by the best one; similarity the cosine of the items' vectors, where it is
        positive. An item without a vector is like no other.
        """
        diversity = self._settings.diversity
        chosen: list[int] = []
        relevance = scores / max(float(scores.max(initial=0.0)), _LEAST_DIVISOR)
        for first in range(0, len(ranked), _POOL * k):
            left = ranked[first : first + _POOL * k]
            while len(chosen) < k and len(left):
                value = (1.0 - diversity) * relevance[left] - diversity * slate.nearest[left]
                best = int(np.argmax(value))
                place, left = int(left[best]), np.delete(left, best)
                if slate.allows(place):
                    slate.take(place)
                    chosen.append(place)
        return chosen

    def _with_newcomers(
        self, ordered: list[int], newcomers: NDArray[np.int64], k: int, slate: _Slate | None
    ) -> list[Chosen]:
        """Give the last places to newcomers that have none: what the model has not seen yet, only they can show it."""
        kept, late = set(ordered), list[int]()
        most = self.places_for_newcomers(k)
        for place in newcomers.tolist():
            if len(late) < most and place not in kept and (slate is None or slate.allows(place)):
                late.append(place)
                if slate is not None:
                    slate.take(place)
        first = ordered[: k - len(late)] if late else ordered
        return [*(Chosen(place) for place in first), *(Chosen(place, newcomer=True) for place in late)]

    def _explore(self, ordered: list[Chosen], ranked: NDArray[np.int64], slate: _Slate) -> list[Chosen]:
        """ε-greedy by place: with probability ε the place goes to a candidate outside the slate, each equally likely.

        A propensity is that of the place given the places above it: 1 − ε for the ranked item, ε / m for one of the m
        candidates that the hard limits allow next to the whole ranked slate and what was explored above; 1 where m = 0.
        It is not the probability that the item is anywhere in the slate.
        """
        chance = self._settings.exploration
        kept = {one.place for one in ordered}
        others = [place for place in ranked.tolist() if place not in kept and slate.allows(place)]
        explored: list[Chosen] = []
        for one in ordered:
            if not others:
                explored.append(one._replace(propensity=1.0))
            elif self._rng.random() < chance:
                drawn = others[int(self._rng.integers(len(others)))]
                explored.append(Chosen(drawn, chance / len(others), explored=True))
                slate.take(drawn)
                others = [other for other in others if other != drawn and slate.allows(other)]
            else:
                explored.append(one._replace(propensity=1.0 - chance))
        return explored


def _largest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Indices of the k largest scores, largest first, ties by index."""
    if k <= 0:
        return np.empty(0, dtype=np.int64)
    if k < len(scores):
        bound = np.partition(scores, len(scores) - k)[len(scores) - k]
        pool = np.flatnonzero(scores >= bound)
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:k]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norms, np.float32(_LEAST_DIVISOR))
    return unit
