"""From ranked candidates to a slate: diversity, caps, newcomers, exploration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.completion import in_last_places, raised_odds, shares_of_begun
from stream_reco.serve.slate.exploration import Evidence, chances, share_explored
from stream_reco.serve.slate.places import PlaceDistribution, Split, inclusion_probabilities, numbers_explored
from stream_reco.signals.catalogue import Catalogue

_POOL = 4
"""Diversity looks at 4 k candidates at once, and at the next 4 k where hard limits left too few."""
_LEAST_DIVISOR = 1e-12
"""What a best score of 0 is divided by in its place."""

_EXPLORED_UNDER_LIMITS = 1
"""Places of a slate that explore where hard limits are set: two explored items might exceed one together, and to leave
the second out would change the probabilities of all."""

_MOST_BEGUN = 0.5
"""Share of a slate that may go to new items for having been begun: where nearly everything is new, what is known to be
liked keeps the other half."""

NOBODY = np.empty(0, dtype=np.int64)
_NO_CHANCES = np.empty(0, dtype=np.float64)


class Chosen(NamedTuple):
    """One place of a slate."""

    place: int
    """Index among the candidates."""
    propensity: float = 1.0
    """Probability in (0, 1] that this place has this item, given all that was known; 1 where nothing was drawn."""
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
        """Whether the cap does not forbid a candidate."""
        return all(self._taken[value] < self._settings.cap for value in self._values(place))

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

    def __init__(self, settings: SlateSettings, seed: int, name: str = "") -> None:
        """Of the same seed, scorers of different names draw independently."""
        self._settings = settings
        self._rng = np.random.default_rng([seed, *name.encode()])

    def __call__(
        self,
        slots: NDArray[np.int32],
        values: NDArray[np.float32],
        k: int,
        index: VectorIndex,
        catalogue: Catalogue,
        newcomers: NDArray[np.int64] = NOBODY,
        evidence: Evidence | None = None,
    ) -> list[Chosen]:
        """At most k places, best first, from candidates `slots` int32[n] of the probabilities `values` float32[n].

        `newcomers` int64[m] are the indices of new candidates, those first that shall be shown first. Without
        `evidence` nothing is known of any candidate.
        """
        slate = None if self._is_plain or k <= 0 else self._limited(slots, index, catalogue)
        known = evidence or Evidence(np.zeros(len(values), dtype=np.int64), 0)
        ordered = self._with_begun(self._ordered(values, max(k, 0), slate), values, known, slate)
        late = self._outside(ordered, newcomers, k, slate)
        distribution = self._distribution(ordered, late, values, newcomers, known, slate)
        drawn = distribution.draw(self._rng)
        return [Chosen(place, chance, explored, place in late) for place, chance, explored in drawn]

    @property
    def explores(self) -> bool:
        """Whether chance has a part in slates."""
        return self._settings.explore > 0.0

    def places_for_newcomers(self, k: int) -> int:
        """How many of k places may go to newcomers."""
        return int(max(k, 0) * self._settings.newcomers)

    @property
    def _is_plain(self) -> bool:
        return self._settings.diversity == 0.0 and not self._has_limits

    def _limited(self, slots: NDArray[np.int32], index: VectorIndex, catalogue: Catalogue) -> _Slate:
        return _Slate(self._settings, slots, index.directions_of(slots), catalogue)

    def _ordered(self, values: NDArray[np.float32], k: int, slate: _Slate | None) -> list[int]:
        """The k candidates that the slate would have if nothing else counted, best first."""
        if slate is None:
            best: list[int] = _largest(values, k).tolist()
            return best
        return self._diverse(_largest(values, len(values)), values, k, slate)

    def _outside(
        self, ordered: list[int], newcomers: NDArray[np.int64], k: int, slate: _Slate | None
    ) -> dict[int, None]:
        """Newcomers that are not among the ordered and may have a place, in their order."""
        kept, late = set(ordered), dict[int, None]()
        most = self.places_for_newcomers(k)
        for place in newcomers.tolist():
            if len(late) < most and place not in kept and (slate is None or slate.allows(place)):
                late[place] = None
                if slate is not None:
                    slate.take(place)
        return late

    def _with_begun(
        self, ordered: list[int], values: NDArray[np.float32], evidence: Evidence, slate: _Slate | None
    ) -> list[int]:
        """The ordered with new items in the last places that only the impressions which they have had bring there."""
        settings = self._settings
        most = int(len(ordered) * _MOST_BEGUN)
        if not most or not self.explores or settings.completion == 0.0:
            return ordered
        shares = shares_of_begun(evidence, settings.first_impressions)
        if not shares.any():
            return ordered
        odds = raised_odds(values, shares, settings.completion)
        kept, begun = set(ordered), list[int]()
        better = np.flatnonzero((shares > 0.0) & (odds > odds[ordered].min()))
        for place in better[np.argsort(-odds[better], kind="stable")].tolist():
            if len(begun) < most and place not in kept and (slate is None or slate.allows(place)):
                begun.append(place)
                if slate is not None:
                    slate.take(place)
        return in_last_places(ordered, begun, odds)

    def _distribution(
        self,
        ordered: list[int],
        late: dict[int, None],
        values: NDArray[np.float32],
        newcomers: NDArray[np.int64],
        evidence: Evidence,
        slate: _Slate | None,
    ) -> PlaceDistribution:
        length, kept = len(ordered), set(ordered)
        first = [place for place in newcomers.tolist() if place in kept or place in late]
        reserved = self.places_for_newcomers(length)
        eligible = self._eligible([*ordered, *late], len(values), slate) if self.explores else NOBODY
        most = min(len(eligible), length, _EXPLORED_UNDER_LIMITS if self._has_limits else length)
        numbers = numbers_explored(length * share_explored(self._settings.explore, evidence), most)
        shares = _NO_CHANCES
        if most:
            # The best of the items that an explored one takes the place of.
            rival = ordered[length - max(number for number, _ in numbers)]
            shares = chances(values, evidence, rival, eligible, self._settings.first_impressions)
        return PlaceDistribution(
            eligible,
            [
                Split(
                    chance,
                    _with_newcomers(ordered, first, length - number, reserved),
                    number,
                    inclusion_probabilities(shares, number),
                )
                for number, chance in numbers
            ],
        )

    def _eligible(self, taken: list[int], count: int, slate: _Slate | None) -> NDArray[np.int64]:
        """int64[e], ascending: candidates outside the slate that the hard limits allow next to all of it."""
        outside = np.ones(count, dtype=np.bool_)
        outside[taken] = False
        places = np.flatnonzero(outside)
        if slate is None or not self._has_limits:
            return places
        return np.array([place for place in places.tolist() if slate.allows(place)], dtype=np.int64)

    @property
    def _has_limits(self) -> bool:
        return self._settings.cap_feature is not None

    def _diverse(self, ranked: NDArray[np.int64], scores: NDArray[np.float32], k: int, slate: _Slate) -> list[int]:
        """Maximal marginal relevance (Carbonell and Goldstein 1998), with caps as hard limits.

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


def _with_newcomers(ordered: list[int], newcomers: Sequence[int], length: int, reserved: int) -> list[int]:
    """The first `length` of the ordered, but the last `reserved` places for newcomers that would have none.

    What the model has not seen yet, only they can show it; neither a better newcomer nor exploration displaces them.
    """
    if not newcomers or not reserved:
        return ordered[:length]
    reserved = min(reserved, length)
    kept = ordered[: length - reserved]
    above = set(kept)
    last = [place for place in newcomers if place not in above][:reserved]
    rest = [place for place in ordered[length - reserved : length] if place not in last]
    return [*kept, *rest[: reserved - len(last)], *last]


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
