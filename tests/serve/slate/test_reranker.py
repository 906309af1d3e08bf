"""From ranked candidates to a slate: the textbook's diversity, hard limits that hold, propensities that are true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.excluded import excluded_slots
from stream_reco.serve.slate.reranker import Chosen, Reranker
from stream_reco.signals.catalogue import Catalogue

Floats = NDArray[np.float32]
CERTAIN = SlateSettings(explore=0.0)


def catalogue(features: list[dict[str, Any] | None]) -> Catalogue:
    made = Catalogue()
    for item, known in enumerate(features):
        made.admit(item)
        made.features.put(item, known)
    return made


def index_of(vectors: Floats) -> VectorIndex:
    index = VectorIndex(vectors.shape[1])
    known = np.flatnonzero(vectors.any(axis=1))
    index.upsert(known, vectors[known])
    return index


def slate(
    slate_settings: SlateSettings,
    scores: Floats,
    vectors: Floats,
    k: int,
    features: list[dict[str, Any] | None],
    explore: float = 0.0,
) -> list[Chosen]:
    slots = np.arange(len(scores), dtype=np.int32)
    return Reranker(replace(slate_settings, explore=explore), 0)(
        slots, scores, k, index_of(vectors), catalogue(features)
    )


def places(chosen: list[Chosen]) -> list[int]:
    return [one.place for one in chosen]


def textbook(scores: Floats, vectors: Floats, k: int, diversity: float) -> list[int]:
    """argmax of (1 − δ)·relevance − δ·max similarity to those chosen (Carbonell and Goldstein 1998, formula 1)."""

    def cosine(a: int, b: int) -> float:
        product = float(np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b]))
        return max(0.0, float(vectors[a] @ vectors[b]) / product) if product else 0.0

    pool = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[: 4 * k]
    chosen: list[int] = []
    while pool and len(chosen) < k:
        best = max(
            pool,
            key=lambda place: (
                (1 - diversity) * float(scores[place]) / float(scores.max())
                - diversity * max((cosine(place, other) for other in chosen), default=0.0)
            ),
        )
        pool.remove(best)
        chosen.append(best)
    return chosen


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Floats, Floats]:
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    vectors[rng.random(n) < 0.1] = 0.0
    return rng.random(n).astype(np.float32) + np.float32(1e-3), vectors


@settings(deadline=None, max_examples=100)
@given(candidates(), st.integers(1, 12), st.floats(0.01, 1.0))
def test_diversity_is_the_textbooks(world: tuple[Floats, Floats], k: int, diversity: float) -> None:
    scores, vectors = world
    found = slate(SlateSettings(diversity=diversity), scores, vectors, k, [None] * len(scores))
    assert places(found) == textbook(scores, vectors, k, diversity)
    assert all(one.propensity == 1.0 and not one.explored for one in found)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=40), st.integers(0, 50))
def test_without_exploration_the_best_come_first_and_ties_by_place(values: list[float], k: int) -> None:
    scores = np.array(values, dtype=np.float32)
    found = slate(SlateSettings(), scores, np.zeros((len(values), 2), np.float32), k, [None] * len(values))
    assert places(found) == sorted(range(len(values)), key=lambda place: (-values[place], place))[:k]


SETTINGS = [
    SlateSettings(),
    SlateSettings(diversity=0.4),
    SlateSettings(cap_feature="brand", cap=2),
    SlateSettings(diversity=0.3, cap_feature="brand", cap=1),
]


@pytest.mark.parametrize("chosen_settings", SETTINGS)
@pytest.mark.parametrize("explore", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("n", "k"), [(0, 0), (0, 5), (5, 0), (1, 1), (3, 9), (9, 3)])
def test_any_length_can_be_asked_for(chosen_settings: SlateSettings, explore: float, n: int, k: int) -> None:
    rng = np.random.default_rng(0)
    scores, vectors = rng.random(n).astype(np.float32), np.eye(max(n, 2), dtype=np.float32)[:n]
    found = slate(chosen_settings, scores, vectors, k, [{"brand": place} for place in range(n)], explore)
    assert len(found) == min(n, k)
    assert len(set(places(found))) == len(found)


def test_twins_stay_where_nothing_else_is_said_of_them() -> None:
    """A cosine of vectors may be rounded to more than 1."""
    vectors = np.tile(np.random.default_rng(0).normal(size=(1, 33)).astype(np.float32), (8, 1))
    scores = np.linspace(1, 0.1, 8, dtype=np.float32)
    assert len(slate(SlateSettings(diversity=0.2), scores, vectors, 8, [None] * 8)) == 8


def test_no_value_fills_more_than_its_cap() -> None:
    brands: list[dict[str, Any] | None] = [
        {"brand": ["a", "b"]},
        {"brand": "a"},
        {"brand": ("a", "a")},
        {"brand": "b"},
        {"brand": None},
        {},
        None,
        {"brand": "c"},
    ]
    scores = np.linspace(1, 0.1, 8, dtype=np.float32)
    vectors = np.zeros((8, 2), np.float32)
    assert places(slate(SlateSettings(cap_feature="brand", cap=1), scores, vectors, 8, brands)) == [0, 4, 5, 6, 7]
    assert places(slate(SlateSettings(cap_feature="brand", cap=2), scores, vectors, 8, brands)) == [0, 1, 3, 4, 5, 6, 7]


def test_a_cap_does_not_leave_places_empty() -> None:
    """The best hundred are of one brand; the slate is filled from behind them."""
    brands: list[dict[str, Any] | None] = [{"brand": "a" if n < 100 else str(n)} for n in range(105)]
    scores = np.linspace(1, 0.1, 105, dtype=np.float32)
    found = slate(SlateSettings(cap_feature="brand", cap=2), scores, np.zeros((105, 2), np.float32), 6, brands)
    assert places(found) == [0, 1, 100, 101, 102, 103]


def explored(count: int, settings_: SlateSettings, n: int, k: int, brands: list[str]) -> list[list[Chosen]]:
    scores = np.linspace(0.9, 0.1, n, dtype=np.float32)
    rerank = Reranker(settings_, 11)
    index, known = index_of(np.zeros((n, 2), np.float32)), catalogue([{"brand": brand} for brand in brands])
    return [rerank(np.arange(n, dtype=np.int32), scores, k, index, known) for _ in range(count)]


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40, unique=True),
    k=st.integers(0, 45),
    share=st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]),
    data=st.data(),
)
def test_newcomers_have_the_last_places_and_no_more_than_their_share(
    scores: list[float], k: int, share: float, data: st.DataObject
) -> None:
    new = data.draw(st.lists(st.integers(0, len(scores) - 1), unique=True))
    n = len(scores)
    found = Reranker(replace(CERTAIN, newcomers=share), 0)(
        np.arange(n, dtype=np.int32),
        np.array(scores, np.float32),
        k,
        index_of(np.zeros((n, 2), np.float32)),
        catalogue([None] * n),
        np.array(new, dtype=np.int64),
    )
    length = min(n, k)
    best = sorted(range(n), key=lambda place: -scores[place])[:length]
    reserved = int(length * share)
    above = best[: length - reserved]
    last = [place for place in new if place not in above][:reserved]
    rest = [place for place in best if place not in [*above, *last]][: reserved - len(last)]
    assert places(found) == above + rest + last
    assert {one.place for one in found if one.newcomer} == set(last) - set(best)
    assert {one.propensity for one in found} <= {1.0}, "nothing was left to chance"


def test_hard_limits_hold_for_newcomers_too() -> None:
    n = 12
    rerank = Reranker(replace(CERTAIN, newcomers=0.5, cap_feature="brand", cap=2), 0)
    brands = list("abcdef") + ["x"] * 5 + ["a"]
    found = rerank(
        np.arange(n, dtype=np.int32),
        np.linspace(0.9, 0.1, n, dtype=np.float32),
        6,
        index_of(np.zeros((n, 2), np.float32)),
        catalogue([{"brand": one} for one in brands]),
        np.arange(6, n),
    )
    assert places(found) == [0, 1, 2, 6, 7, 11]


def test_neither_exploration_nor_a_later_newcomer_takes_the_place_of_a_newcomer() -> None:
    """It is among the best twenty, but at their end, which exploration takes places from."""
    n = 60
    rerank = Reranker(SlateSettings(explore=0.2), 3)
    index, known = index_of(np.zeros((n, 2), np.float32)), catalogue([None] * n)
    for newest in (10, 17, 19, 20, 59):
        for _ in range(50):
            found = rerank(
                np.arange(n, dtype=np.int32),
                np.linspace(0.9, 0.1, n, dtype=np.float32),
                20,
                index,
                known,
                np.array([newest, 18, 40, 41]),
            )
            assert newest in places(found)


def test_propensities_are_how_often_a_place_shows_its_item() -> None:
    """For every item that a place ever showed, with a number of explored places that is itself drawn."""
    for setting in (SlateSettings(explore=0.5), SlateSettings(explore=0.2, cap_feature="brand", cap=2)):
        slates = explored(8_000, setting, 7, 3, list("abcddae"))
        seen = [Counter(one[place].place for one in slates) for place in range(3)]
        said: dict[tuple[int, int], float] = {}
        for one in slates:
            for place, chosen in enumerate(one):
                assert said.setdefault((place, chosen.place), chosen.propensity) == chosen.propensity
        for place, counts in enumerate(seen):
            items = sorted(counts)
            stated = np.array([said[place, item] for item in items])
            assert stated.sum() == pytest.approx(1.0)
            assert chisquare([counts[item] for item in items], stated * len(slates)).pvalue > 1e-4


def test_hard_limits_hold_for_explored_items_too() -> None:
    brands = list("abcdeabcdeaaaaaaaaa")
    for one in explored(500, SlateSettings(explore=0.7, cap_feature="brand", cap=2), 19, 5, brands):
        assert len(one) == 5
        assert max(Counter(brands[chosen.place] for chosen in one).values()) <= 2
        assert sum(chosen.explored for chosen in one) == 1, "two might exceed the cap together"


def test_exploration_comes_as_often_as_set_at_every_place_and_is_marked() -> None:
    slates = explored(4_000, SlateSettings(explore=0.25), 40, 5, ["a"] * 40)
    flags = np.array([[chosen.explored for chosen in one] for one in slates])
    assert flags.mean(axis=0) == pytest.approx(np.full(5, 0.25), abs=0.03)
    assert set(flags.sum(axis=1).tolist()) == {1, 2}
    assert all((chosen.place >= 5) == chosen.explored for one in slates for chosen in one)
    ranked = [[chosen.place for chosen in one if not chosen.explored] for one in slates]
    assert all(one == list(range(len(one))) for one in ranked), "the others stay in their order"


def test_where_nothing_is_left_to_explore_nothing_is_left_to_chance() -> None:
    for one in explored(50, SlateSettings(explore=0.9), 4, 4, list("abcd")):
        assert [(chosen.place, chosen.propensity, chosen.explored) for chosen in one] == [
            (place, 1.0, False) for place in range(4)
        ]


def test_a_seed_fixes_what_is_explored() -> None:
    first, second = (explored(20, SlateSettings(explore=0.5), 9, 4, ["a"] * 9) for _ in range(2))
    assert first == second


def test_excluded_items_that_nobody_knows_are_ignored() -> None:
    found = excluded_slots(catalogue([None] * 3), [2, "2", 99, 0])
    assert found.tolist() == [2, 0]
    assert found.dtype == np.int32
    assert excluded_slots(catalogue([]), []).shape == (0,)
