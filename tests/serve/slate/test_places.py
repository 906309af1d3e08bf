"""The probabilities of a slate's places against all slates that there could be, counted one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.serve.slate.places import PlaceDistribution, Split, inclusion_probabilities, numbers_explored


def exact(distribution: PlaceDistribution, candidates: int) -> NDArray[np.float64]:
    """float64[K, candidates]: every set of explored places, every sample of a systematic draw, in every order."""
    length = distribution.length
    found = np.zeros((length, candidates))
    for split in distribution.splits:
        sets = list(combinations(range(length), split.explored))
        for share, sample in samples(split):
            orders = list(permutations(sample))
            for explored in sets:
                for order in orders:
                    chance = split.chance * share / len(sets) / len(orders)
                    ranked, drawn = iter(split.ranked), iter(order)
                    for place in range(length):
                        candidate = distribution.eligible[next(drawn)] if place in explored else next(ranked)
                        found[place, candidate] += chance
    return found


def samples(split: Split) -> list[tuple[float, tuple[int, ...]]]:
    """What a systematic draw can give and with which chance, from where it changes as its start moves over [0, 1)."""
    bounds = np.cumsum(split.inclusion)
    cuts = sorted({0.0, 1.0, *(bound % 1.0 for bound in bounds.tolist())})
    found = []
    for low, high in pairwise(cuts):
        if high - low > 1e-12:
            starts = (low + high) / 2 + np.arange(split.explored)
            found.append((high - low, tuple(int((bounds <= start).sum()) for start in starts)))
    return found


@st.composite
def distributions(draw: st.DrawFn) -> PlaceDistribution:
    length, others = draw(st.integers(1, 5)), draw(st.integers(0, 5))
    weights = draw(st.lists(st.floats(0.01, 1), min_size=others, max_size=others))
    shares = np.array(weights) / (sum(weights) or 1.0)
    ranks = draw(st.permutations(range(length + others)))
    ranked, eligible = ranks[:length], np.array(sorted(ranks[length:]), dtype=np.int64)
    numbers = numbers_explored(draw(st.floats(0, 5)), min(length, others, 3))
    splits = [
        Split(chance, ranked[: length - number], number, inclusion_probabilities(shares, number))
        for number, chance in numbers
    ]
    return PlaceDistribution(eligible, splits)


@settings(deadline=None)
@given(distributions(), st.integers(0, 2**32))
def test_probabilities_are_those_of_all_slates_that_there_could_be(distribution: PlaceDistribution, seed: int) -> None:
    length = distribution.length
    candidates = length + len(distribution.eligible)
    wanted, found = exact(distribution, candidates), distribution.matrix(candidates)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), np.ones(length), rtol=1e-12)
    drawn = distribution.draw(np.random.default_rng(seed))
    assert len({place.candidate for place in drawn}) == len(drawn) == length
    for place, one in enumerate(drawn):
        assert one.probability == pytest.approx(wanted[place, one.candidate], abs=1e-12)
        assert one.probability > 0.0
        assert one.explored == (one.candidate in distribution.eligible)


@given(st.integers(1, 200), st.data())
def test_the_place_of_a_rank_is_hypergeometric(length: int, data: st.DataObject) -> None:
    explored = data.draw(st.integers(0, length - 1))
    shares = np.full(explored, 1.0 / max(explored, 1))
    ranked = range(length - explored)
    split = Split(1.0, ranked, explored, inclusion_probabilities(shares, explored))
    found = PlaceDistribution(np.arange(length - explored, length), [split]).matrix(length)
    rank = data.draw(st.sampled_from(ranked))
    for lower in range(explored + 1):
        ways = comb(rank + lower, lower) * comb(length - 1 - rank - lower, explored - lower)
        assert found[rank + lower, rank] == pytest.approx(float(Fraction(ways, comb(length, explored))), rel=1e-9)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=40), st.data())
def test_inclusion_is_in_proportion_up_to_certainty(weights: list[float], data: st.DataObject) -> None:
    chances = np.array(weights) / sum(weights)
    number = data.draw(st.integers(0, len(weights)))
    found = inclusion_probabilities(chances, number)
    assert found.sum() == pytest.approx(number)
    assert (found <= 1.0).all()
    free = (found < 1.0) & (found > 0.0)
    if free.any():
        ratios = found[free] / chances[free]
        assert ratios == pytest.approx(np.full(len(ratios), ratios[0]))
        assert (chances[found == 1.0] * ratios[0] >= 1.0 - 1e-9).all(), "only what would be above 1 is certain"


@given(st.floats(0, 30), st.integers(0, 20))
def test_the_number_of_explored_places_is_as_expected_on_average(expected: float, most: int) -> None:
    numbers = numbers_explored(expected, most)
    assert sum(chance for _, chance in numbers) == pytest.approx(1.0)
    assert sum(number * chance for number, chance in numbers) == pytest.approx(min(expected, most), abs=1e-8)
    assert max(number for number, _ in numbers) - min(number for number, _ in numbers) <= 1
    assert all(0.0 < chance <= 1.0 for _, chance in numbers)
