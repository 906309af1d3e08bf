"""New items that were begun come before others of nearly the same odds: against plain swaps, through the reranker."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.completion import in_last_places, raised_odds, shares_of_begun
from stream_reco.serve.slate.exploration import Evidence
from stream_reco.serve.slate.reranker import Chosen, Reranker
from stream_reco.signals.catalogue import Catalogue

TARGET, K = 20, 3
HARDLY = SlateSettings(explore=1e-6, newcomers=0.0, first_impressions=TARGET, completion=1.0)
"""Of a million places one explores, and none does of those that a seed of these tests draws."""
MANY = 20
"""New items among the candidates from which places are short for them."""


def crowded(values: list[float], shown: list[int]) -> tuple[list[float], list[int]]:
    """With as many new items behind them as make places short."""
    return [*values, *[0.001] * MANY], [*shown, *[0] * MANY]


def reranker(slate_settings: SlateSettings, brands: list[int]) -> tuple[Reranker, Catalogue]:
    catalogue = Catalogue()
    for item, brand in enumerate(brands):
        catalogue.admit(item)
        catalogue.features.put(item, {"brand": brand})
    return Reranker(slate_settings, 0), catalogue


def slates(
    slate_settings: SlateSettings,
    values: list[float],
    shown: list[int],
    k: int,
    brands: list[int] | None = None,
    count: int = 1,
) -> list[list[Chosen]]:
    rerank, catalogue = reranker(slate_settings, brands or list(range(len(values))))
    slots, scores = np.arange(len(values), dtype=np.int32), np.array(values, dtype=np.float32)
    evidence = Evidence(np.array(shown, dtype=np.int64), 0)
    return [rerank(slots, scores, k, VectorIndex(1), catalogue, evidence=evidence) for _ in range(count)]


def ranked(
    slate_settings: SlateSettings, values: list[float], shown: list[int], k: int, brands: list[int] | None = None
) -> list[int]:
    return [one.place for one in slates(slate_settings, values, shown, k, brands)[0]]


def test_odds_are_raised_by_the_share_of_the_first_impressions() -> None:
    values, shown = crowded([0.2, 0.2, 0.2, 0.2, 1.0, 0.0], [0, 5, 19, 20, 10, 10])
    found = raised_odds(np.array(values, np.float32), shares_of_begun(Evidence(np.array(shown), 0), TARGET), 2.0)
    assert found[:4] == pytest.approx([log(0.25 * exp(raised)) for raised in (0.0, 0.5, 1.9, 0.0)], abs=1e-6)
    assert np.isfinite(found).all()


def test_actions_that_no_impression_came_with_raise_nobody() -> None:
    values, shown = crowded([0.2] * 3, [15, 15, 25])
    reported = np.array([0, 10, 5, *[0] * MANY])
    found = raised_odds(
        np.array(values, np.float32), shares_of_begun(Evidence(np.array(shown), 0, reported), TARGET), 2.0
    )
    assert found[:3] == pytest.approx([log(0.25 * exp(raised)) for raised in (0.0, 1.0, 0.0)], abs=1e-6)


@pytest.mark.parametrize("others", [0, 4, 9, 19, 40])
def test_where_few_are_new_they_are_raised_by_the_square_of_their_number(others: int) -> None:
    values, shown = np.full(1 + others + 30, 0.5, np.float32), np.array([10, *[0] * others, *[500] * 30])
    found = raised_odds(values, shares_of_begun(Evidence(shown, 0), TARGET), 2.0)
    assert found[0] == pytest.approx(min(1.0, (1 + others) / MANY) ** 2)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 30)), min_size=1, max_size=40),
    st.integers(1, 15),
    st.sampled_from([0.0, 0.4, 1.0, 5.0]),
)
def test_begun_items_take_the_last_places_that_their_raised_odds_are_above(
    items: list[tuple[int, int]], k: int, completion: float
) -> None:
    values, shown = crowded([percent / 100 for percent, _ in items], [count for _, count in items])
    odds = raised_odds(np.array(values, np.float32), shares_of_begun(Evidence(np.array(shown), 0), TARGET), completion)
    model = sorted(range(len(values)), key=lambda place: (-np.float32(values[place]), place))[:k]
    raised = sorted(range(len(values)), key=lambda place: (-odds[place], place))
    kept, entering = list(model), list[int]()
    for place in [place for place in raised if place not in model][: len(model) // 2]:
        if odds[place] <= odds[kept[-1]]:
            break
        kept.pop()
        entering.append(place)
    assert ranked(replace(HARDLY, completion=completion), values, shown, k) == kept + entering
    assert all(0 < shown[place] < TARGET for place in entering), "neither who is known nor who was not begun"
    assert completion > 0.0 or not entering


def test_an_item_is_begun_from_its_first_impression_and_known_from_its_target_on() -> None:
    values = [0.3, 0.2, 0.19]
    assert ranked(HARDLY, *crowded(values, [500, 500, TARGET - 1]), 2) == [0, 2]
    assert ranked(HARDLY, *crowded(values, [500, 500, 1]), 2) == [0, 1], "the model is surer than one look is worth"
    assert ranked(HARDLY, *crowded(values, [500, 0, 5]), 2) == [0, 2]
    assert ranked(HARDLY, *crowded(values, [500, 500, TARGET]), 2) == [0, 1]
    assert ranked(HARDLY, *crowded([0.3, 0.2, 0.05], [500, 500, TARGET - 1]), 2) == [0, 1], "not at any price"
    assert ranked(HARDLY, values, [500, 500, TARGET - 1], 2) == [0, 1], "who is new alone has time"


def test_without_exploration_nobody_comes_before_who_is_likelier() -> None:
    assert ranked(replace(HARDLY, explore=0.0), *crowded([0.3, 0.2, 0.19], [500, 500, 19]), 2) == [0, 1]


def test_who_gave_way_may_be_explored_and_chances_are_exact() -> None:
    (values, shown), count = crowded([0.3, 0.25, 0.2, 0.19, 0.05], [500, 500, 500, 15, 500]), 4_000
    found = slates(replace(HARDLY, explore=0.2), values, shown, K, count=count)
    said: dict[tuple[int, int], float] = {}
    seen = np.zeros((K, len(values)))
    for one in found:
        for place, chosen in enumerate(one):
            seen[place, chosen.place] += 1
            assert said.setdefault((place, chosen.place), chosen.propensity) == chosen.propensity
    assert {item for _, item in said} == set(range(len(values)))
    for (place, item), chance in said.items():
        assert abs(seen[place, item] / count - chance) < 4.5 * (chance * (1 - chance) / count) ** 0.5
    for place in range(K):
        assert sum(chance for (at, _), chance in said.items() if at == place) == pytest.approx(1.0)
    explored = np.mean([sum(chosen.explored for chosen in one) for one in found])
    assert explored == pytest.approx(0.2 * K, abs=0.04), "the budget of exploration is what it was"


def test_hard_limits_hold_for_begun_items_too() -> None:
    values, shown = [0.3, 0.29, 0.28, 0.27, 0.26, 0.25, 0.24], [500] * 4 + [15] * 3
    capped = replace(HARDLY, cap_feature="brand", cap=1)
    brands = [0, 1, 2, 3, 1, 5, 5, *range(6, 6 + MANY)]
    assert ranked(capped, *crowded(values, shown), 4, brands=brands) == [0, 1, 2, 5]


def test_nobody_enters_who_is_no_better() -> None:
    odds = np.array([3.0, 2.0, 1.0, 2.5, 0.5])
    assert in_last_places([0, 1, 2], [3, 4], odds) == [0, 1, 3]
    assert in_last_places([0, 1, 2], [], odds) == [0, 1, 2]
    assert in_last_places([], [3], odds) == []


def test_less_haste_is_made_with_items_whose_content_tells_who_likes_them() -> None:
    values, shown = np.full(MANY, 0.1, dtype=np.float32), np.full(MANY, TARGET // 2)
    plain = raised_odds(values, shares_of_begun(Evidence(shown, 0), TARGET), 2.0)[:4]
    variances = np.array([0.0, 0.04, 1.0, 9.0, *[0.0] * (MANY - 4)], dtype=np.float32)
    told = raised_odds(values, shares_of_begun(Evidence(shown, 0, None, variances), TARGET), 2.0)[:4]
    raised = (told - log(0.1 / 0.9)) / (plain - log(0.1 / 0.9))
    np.testing.assert_allclose(raised, [1.0, 0.2, 1.0, 1.0], rtol=1e-4)
