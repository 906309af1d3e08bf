"""The distribution that a slate is drawn from, with the exact probability of every item at every place.

Of K places m explore: the set of these places is uniform among all of size m, the ranked items fill the others in
their order. The explored items are a systematic sample of given inclusion probabilities π that sum to m (Madow 1949),
and which of them comes to which explored place is uniform. So the item of rank s is at place p with the probability
that m of p's neighbours are explored as the order demands, C(p−1, s−1)·C(K−p, K−m−s) / C(K, m), and an explored one is
there with π / K. Where the expected number of explored places is no integer, m is one of the two nearest ones, and
probabilities are the means over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALL_BUT = 1e-9
"""A fraction of a place below this is a rounding error of its share of the slate."""


class Place(NamedTuple):
    """One place of a slate."""

    candidate: int
    probability: float
    """In (0, 1]: that this place has this candidate."""
    explored: bool


class Split(NamedTuple):
    """One number of explored places, and who has the others."""

    chance: float
    """That this split is the one, in (0, 1]."""
    ranked: Sequence[int]
    """Candidates of the places that do not explore, in order."""
    explored: int
    """m: how many places explore."""
    inclusion: NDArray[np.float64]
    """float64[e]: the probability of each eligible candidate to be explored; sums to m."""


class PlaceDistribution(NamedTuple):
    """What a slate is drawn from. Who is eligible is ranked in no split."""

    eligible: NDArray[np.int64]
    """int64[e]: candidates that may be explored."""
    splits: Sequence[Split]
    """One, or two whose chances sum to 1; all of the same length K = ranked + explored."""

    @property
    def length(self) -> int:
        """Places of the slate."""
        return len(self.splits[0].ranked) + self.splits[0].explored

    def draw(self, rng: np.random.Generator) -> list[Place]:
        """One slate."""
        splits, length = self.splits, self.length
        split = splits[0] if len(splits) == 1 or rng.random() < splits[0].chance else splits[1]
        if not split.explored:
            return self._of_ranked(list(split.ranked))
        sample = _systematic(split.inclusion, split.explored, rng.random())
        explorers = rng.permutation(length)[: split.explored].tolist()
        slate = list(split.ranked)
        # From above, so that what is put in later moves nothing that was put in before.
        drawn = sorted(zip(explorers, sample, strict=True))
        for place, at in drawn:
            slate.insert(place, int(self.eligible[at]))
        made = self._of_ranked(slate)
        for place, at in drawn:
            made[place] = Place(slate[place], self._of_explored(at), True)
        return made

    def _of_explored(self, at: int) -> float:
        """The probability of an eligible candidate, by its index, at any one place."""
        return sum([split.chance * float(split.inclusion[at]) for split in self.splits]) / self.length

    def _of_ranked(self, slate: Sequence[int]) -> list[Place]:
        """The places of a slate with the probability that each got its candidate by rank, 0 for others."""
        places = {candidate: place for place, candidate in enumerate(slate)}
        found = [0.0] * len(slate)
        for chance, ranked, explored, _ in self.splits:
            by_rank = _rank_at_place(len(slate), explored)
            for rank, candidate in enumerate(ranked):
                lower = places.get(candidate, -1) - rank
                if 0 <= lower <= explored:
                    found[lower + rank] += chance * by_rank[rank][lower]
        return [Place(candidate, found[place], False) for candidate, place in places.items()]

    def matrix(self, candidates: int) -> NDArray[np.float64]:
        """float64[K, candidates]: the probability of each candidate at each place; rows sum to 1."""
        length = self.length
        found = np.zeros((length, candidates))
        for split in self.splits:
            found[:, self.eligible] += split.chance * split.inclusion / length
            for rank, chances in enumerate(_rank_at_place(length, split.explored)):
                found[rank : rank + split.explored + 1, split.ranked[rank]] += split.chance * np.array(chances)
        return found


def numbers_explored(expected: float, most: int) -> list[tuple[int, float]]:
    """The numbers of explored places and their chances, so that their mean is `expected`, or `most` if that is less."""
    if expected >= most:
        return [(most, 1.0)]
    fewer = int(expected)
    fraction = expected - fewer
    if fraction < _ALL_BUT or fraction > 1.0 - _ALL_BUT:
        return [(round(expected), 1.0)]
    return [(fewer, 1.0 - fraction), (fewer + 1, fraction)]


def inclusion_probabilities(chances: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """float64[e] in (0, 1], of sum `number`: proportional to `chances`, but for those that this would take above 1.

    `chances` float64[e] are positive and sum to 1; `number` is at most e.
    """
    if number * chances.max(initial=0.0) <= 1.0:
        return chances * number
    certain = np.zeros(len(chances), dtype=np.bool_)
    while not certain.all():
        left, rest = number - int(certain.sum()), chances[~certain].sum()
        inclusion = np.where(certain, 1.0, chances * (left / rest))
        over = inclusion > 1.0
        if not over.any():
            return inclusion
        certain |= over
    return np.ones(len(chances))


def _systematic(inclusion: NDArray[np.float64], number: int, start: float) -> list[int]:
    """The indices of a systematic sample, whose inclusion probabilities are exact; `start` is uniform in [0, 1)."""
    bounds = inclusion.cumsum()
    step, last = float(bounds[-1]) / number, len(bounds) - 1
    return [min(int(bounds.searchsorted((start + n) * step, "right")), last) for n in range(number)]


@lru_cache(maxsize=64)
def _rank_at_place(length: int, explored: int) -> list[list[float]]:
    """[K − m][m + 1]: the probability that the item of a rank (from 0) stands as many places lower than its rank."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, length + 1)))])

    def choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        counts: NDArray[np.float64] = logs[n] - logs[k] - logs[n - k]
        return counts

    rank = np.arange(length - explored, dtype=np.int64)[:, None]
    lower = np.arange(explored + 1, dtype=np.int64)[None, :]
    above = choose(rank + lower, lower)
    below = choose(length - 1 - rank - lower, explored - lower)
    everything = choose(np.array(length), np.array(explored))
    found: list[list[float]] = np.exp(above + below - everything).tolist()
    return found
