"""Of candidates that say nearly the same the best stays: as all pairs have it, whatever their order; variants stay."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from stream_reco import metrics
from stream_reco.datasets import load
from stream_reco.events import ItemEvent
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate import alike_pairs
from stream_reco.serve.slate.near_duplicates import NearDuplicates, without_duplicates
from stream_reco.serve.slate.request import Request
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import OF_TEXT
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from tests.serve.small_shop import NOW, SmallShop

torch.set_num_threads(1)
Features = dict[str, Any]
LEAST = 0.9
WORDS = ["amber", "basin", "copper", "delta", "ember", "falcon", "garnet", "harbour", "island", "juniper"]
OTHERS: list[Features] = [{"title": f"something else of the kind {word}"} for word in WORDS]
"""What the others say, so that words are rare or not."""


def catalogue_of(described: list[Features]) -> Catalogue:
    signals = Signals(SignalSettings())
    for item, features in enumerate(described):
        signals.describe(item, Statement(NOW, features, True))
    return signals.catalogue


def left_out(
    catalogue: Catalogue, slots: NDArray[np.int32], values: NDArray[np.float32], least: float = LEAST
) -> set[int]:
    """The slots that are left out."""
    found = NearDuplicates(least).among(catalogue, slots, catalogue.content.read(slots, NOW), values)
    return set() if found is None else set(slots[found].tolist())


def are_copies(one: Features, other: Features, *more: Features) -> bool:
    """Whether the second of two items is left out, in whatever order they come."""
    catalogue = catalogue_of([one, other, *OTHERS, *more])
    slots = np.arange(2 + len(OTHERS) + len(more), dtype=np.int32)
    values = np.linspace(0.9, 0.1, len(slots), dtype=np.float32)
    found = left_out(catalogue, slots, values)
    assert found in (set(), {1})
    assert left_out(catalogue, slots[::-1].copy(), values[::-1].copy()) == found
    return bool(found)


# --- which two are one thing

TITLE = "Light running shoe for cold mornings"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"title": TITLE}, {"title": TITLE}),
        ({"title": TITLE}, {"title": "LIGHT running shoe, for cold mornings!"}),
        # Five sellers' copies.
        ({"title": TITLE, "seller": "ann", "price": 59.9}, {"title": TITLE, "seller": "bob", "price": 57.5}),
        ({"title": TITLE, "since": "2026-01-01", "new": True}, {"title": TITLE, "since": "2026-03-01", "new": False}),
        # Short titles, and everything else is the same.
        (
            {"title": "Chasing Amy", "year": 1997, "genre": ["Drama", "Romance"]},
            {"title": "Chasing Amy", "year": 1997, "genre": ["Romance", "Drama"]},
        ),
        ({"title": "Deceiver", "year": 1997, "genre": "Crime"}, {"title": "Deceiver", "year": 1997, "genre": "Crime"}),
        ({"title": TITLE, "text": "Warm and dry"}, {"title": TITLE, "text": "Warm and dry"}),
    ],
)
def test_what_says_nearly_the_same_is_one_thing(one: Features, other: Features) -> None:
    assert are_copies(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"title": "The toy story of them all"}, {"title": "The toy story of them all 2"}),
        ({"title": "Collected tales of the sea part 1"}, {"title": "Collected tales of the sea part 2"}),
        ({"title": "Collected tales of the sea part II"}, {"title": "Collected tales of the sea part III"}),
        ({"title": f"{TITLE} M"}, {"title": f"{TITLE} L"}),
        ({"title": TITLE, "year": 1954}, {"title": TITLE, "year": 1995}),
        ({"title": TITLE, "volume": 1}, {"title": TITLE, "volume": 2}),
        ({"title": TITLE, "price": 59.9}, {"title": TITLE, "price": 99.9}),
        ({"title": TITLE, "size": "42"}, {"title": TITLE, "size": "43"}),
        ({"title": TITLE, "size": "XL"}, {"title": TITLE, "size": "m"}),
        ({"title": TITLE, "memory": "128 GB"}, {"title": TITLE, "memory": "256 GB"}),
        ({"title": TITLE, "since": "1954-01-01"}, {"title": TITLE, "since": "1995-01-01"}),
        ({"title": TITLE, "text": "Warm and dry and soft"}, {"title": TITLE, "text": "For the summer days alone"}),
        # Too little is said, or the little differs.
        ({"title": "Shoes"}, {"title": "Shoes"}),
        ({"title": "Shoes", "brand": "a", "kind": "b"}, {"title": "Shoes", "brand": "a", "kind": "c"}),
        # Categories and prices are what many have in common.
        ({"kind": "shoe", "brand": "a", "price": 5.5}, {"kind": "shoe", "brand": "a", "price": 5.5}),
        ({}, {}),
    ],
)
def test_what_differs_in_what_matters_is_not(one: Features, other: Features) -> None:
    assert not are_copies(one, other)


def test_given_vectors_tell_where_there_is_no_text_and_tell_apart_where_there_is() -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=48)
    near, far = vector + rng.normal(scale=0.05, size=48), vector + rng.normal(scale=0.5, size=48)
    others = [{"photo": rng.normal(size=48).tolist()} for _ in range(20)]
    one = {"photo": vector.tolist()}
    assert are_copies(one, {"photo": (3 * near).tolist()}, *others)
    assert not are_copies(one, {"photo": far.tolist()}, *others)
    assert not are_copies({**one, "volume": 1}, {**one, "volume": 2})
    assert are_copies({**one, "title": TITLE}, {"photo": near.tolist(), "title": TITLE})
    assert not are_copies({**one, "title": TITLE}, {"photo": far.tolist(), "title": TITLE})
    # A list of zeros and ones names categories.
    assert not are_copies({"genres": [0, 1, 0, 0, 1, 0, 0, 0, 0]}, {"genres": [0, 1, 0, 0, 1, 0, 0, 0, 0]})


def test_a_limit_of_one_leaves_all_in() -> None:
    catalogue = catalogue_of([{"title": TITLE}] * 4)
    slots, values = np.arange(4, dtype=np.int32), np.full(4, 0.5, np.float32)
    assert left_out(catalogue, slots, values, 1.0) == set()
    assert left_out(catalogue, slots, values) == {1, 2, 3}, "of equal ones that of the lower slot stays"


# --- against all pairs


def texts_of(catalogue: Catalogue, slots: NDArray[np.int32]) -> list[dict[tuple[int, int], float]]:
    """Of each item its words and their weights."""
    counts, said = catalogue.content.read(slots, NOW)
    texts, at = [], 0
    for count in counts.tolist():
        mine = range(at, at + count)
        texts.append({(int(said.fields[n]), int(said.codes[n])): float(said.weights[n]) for n in mine})
        at += count
    return [{key: weight for key, weight in text.items() if key[0] & OF_TEXT} for text in texts]


def cosine(one: dict[tuple[int, int], float], other: dict[tuple[int, int], float]) -> float:
    product = sum(weight * other.get(key, 0.0) for key, weight in one.items())
    lengths = math.sqrt(sum(x * x for x in one.values()) * sum(x * x for x in other.values()))
    return product / lengths if lengths else 0.0


@st.composite
def shops(draw: st.DrawFn) -> list[Features]:
    """Items of a few texts, each told with a word more, less or changed, and numbers that may differ."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    letters = np.array(list("bcdefghjklnop"))
    words = ["".join(rng.choice(letters, size=6)) for _ in range(60)]
    stems = [list(rng.choice(words, size=rng.integers(3, 30), replace=False)) for _ in range(4)]
    items: list[Features] = []
    for _ in range(draw(st.integers(2, 30))):
        text = list(stems[rng.integers(4)])
        if rng.random() < 0.5:
            text[rng.integers(len(text))] = words[rng.integers(60)]
        if rng.random() < 0.2:
            text.append(str(rng.integers(3)))
        if rng.random() < 0.2:
            text.append(text[0])
        items.append({"text": " ".join(text), "year": int(rng.integers(2)), "kind": f"k{rng.integers(2)}"})
    return [*items, {"text": "what makes this feature a text"}]


@settings(deadline=None, max_examples=150)
@given(shops(), st.integers(0, 2**32))
def test_it_is_what_all_pairs_say_whatever_the_order(items: list[Features], seed: int) -> None:
    catalogue, rng = catalogue_of(items), np.random.default_rng(seed)
    n = len(items)
    values = rng.permutation(np.linspace(0.9, 0.1, n)).astype(np.float32)
    texts = texts_of(catalogue, np.arange(n, dtype=np.int32))

    def one_thing(a: int, b: int) -> bool:
        found = cosine(texts[a], texts[b])
        assume(abs(found - LEAST) > 1e-6)
        if found < LEAST or items[a]["year"] != items[b]["year"]:
            return False
        mine, theirs = items[a]["text"].split(), items[b]["text"].split()
        if Counter(filter(str.isdigit, mine)) != Counter(filter(str.isdigit, theirs)):
            return False
        return len({*mine} & {*theirs}) >= 4 or items[a]["kind"] == items[b]["kind"]

    expected, stay = set[int](), list[int]()
    for item in np.argsort(-values).tolist():
        if any(one_thing(better, item) for better in stay):
            expected.add(item)
        else:
            stay.append(item)
    for order in (np.arange(n), rng.permutation(n)):
        slots = order.astype(np.int32)
        assert left_out(catalogue, slots, values[order]) == expected


def test_many_copies_take_a_bounded_time() -> None:
    """Two hundred items of one text that differ in a number: what is looked at is bounded, and all of them stay."""
    catalogue = catalogue_of([{"title": TITLE, "volume": volume} for volume in range(200)])
    slots, values = np.arange(200, dtype=np.int32), np.linspace(0.9, 0.1, 200, dtype=np.float32)
    counts, said = catalogue.content.read(slots, NOW)
    pairs = alike_pairs.pairs_by_words(counts, said, np.arange(200), LEAST)
    assert Counter(pairs[:, 1].tolist()) == {worse: min(worse, alike_pairs.MOST_COMPARED) for worse in range(1, 200)}
    assert left_out(catalogue, slots, values) == set()
    copies = catalogue_of([{"title": TITLE, "seller": f"s{seller}"} for seller in range(200)])
    assert left_out(copies, slots, values) == set(range(1, 200)), "each was compared with the one that stays"


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 25))
def test_a_slate_is_rather_repetitive_than_short(duplicates: list[bool], k: int) -> None:
    n = len(duplicates)
    values = np.random.default_rng(n).permutation(np.linspace(0.9, 0.1, n)).astype(np.float32)
    staying = without_duplicates(np.array(duplicates), values, k)
    assert staying is not None
    own = [place for place in range(n) if not duplicates[place]]
    again = sorted((place for place in range(n) if duplicates[place]), key=lambda place: -values[place])
    assert staying.tolist() == sorted([*own, *again[: max(0, min(k, n) - len(own))]])
    assert without_duplicates(None, values, k) is None


# --- in slates


def shop_of_copies(slate: SlateSettings, things: int) -> SmallShop:
    """Each thing twice: items n and n + 100."""
    shop = SmallShop(slate)
    for thing in range(things):
        for copy in (0, 100):
            shop.describe(
                thing + copy, {"title": f"A book of {WORDS[thing]} for everyone", "seller": f"s{copy}"}, available=True
            )
    rng = np.random.default_rng(0)
    for step in range(40):
        shop.act(int(rng.integers(20)) + 1_000, int(rng.integers(things)), NOW - 60_000 + step)
    shop.sync()
    return shop


def test_no_slate_has_two_copies_while_there_is_anything_else_and_chances_stay_exact() -> None:
    shop = shop_of_copies(SlateSettings(explore=0.5), 9)
    before = metrics.NEAR_DUPLICATES._value.get()
    slates = shop.scorer.recommend_many([Request("nobody", 4)] * 1_000, NOW)
    assert metrics.NEAR_DUPLICATES._value.get() - before == 9 * 1_000
    said: dict[tuple[int, Any], float] = {}
    counts: defaultdict[int, Counter[Any]] = defaultdict(Counter)
    for one in slates:
        assert len({item.item_id % 100 for item in one.items if isinstance(item.item_id, int)}) == 4
        for place, item in enumerate(one.items):
            assert said.setdefault((place, item.item_id), item.propensity) == item.propensity
            counts[place][item.item_id] += 1
    for place, found in counts.items():
        stated = np.array([said[place, item] for item in found])
        assert stated.sum() == pytest.approx(1.0)
        assert chisquare([*found.values()], stated * len(slates)).pvalue > 1e-4


def test_where_there_is_nothing_else_copies_fill_a_slate_up() -> None:
    shop = shop_of_copies(SlateSettings(), 3)
    for k, copies in ((3, 0), (5, 2), (6, 3), (9, 3)):
        found = [item.item_id for item in shop.scorer.recommend_many([Request("nobody", k)], NOW)[0].items]
        assert len(found) == len(set(found)) == min(k, 6)
        assert len(found) - len({item % 100 for item in found if isinstance(item, int)}) == copies


@pytest.mark.data
def test_films_that_are_listed_twice_are_found_and_no_remake_is(data_dir: Path) -> None:
    log = load(data_dir / "ml100k", "movielens", now_ms=NOW)
    films = [one.features or {} for one in log if isinstance(one, ItemEvent)]
    catalogue, n = catalogue_of(films), len(films)
    found = left_out(catalogue, np.arange(n, dtype=np.int32), np.linspace(0.9, 0.1, n, dtype=np.float32))
    first: dict[tuple[object, object], int] = {}
    names = [(film["title"], film.get("year")) for film in films]
    again = {item for item, name in enumerate(names) if first.setdefault(name, item) != item}
    assert len(again) == 18
    assert found == again
