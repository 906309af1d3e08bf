"""How much like what a user dislikes an item is, by formula; and that the slate puts what is alike lower."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_reco.events import Id, key_of
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.dislike_similarity import dislike_similarity
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Slate
from stream_reco.signals.dislikes import COMPARED
from tests.serve.small_shop import NOW, SmallShop

DAY = 86_400_000


def similarities(shop: SmallShop, items: list[Id], disliked: list[Id]) -> list[float]:
    with shop.served.replica.reading():
        found = dislike_similarity(shop.served, shop.slots(items), shop.slots(disliked), NOW)
    assert found.dtype == np.float32
    return [float(one) for one in found]


def with_vectors(vectors: dict[Id, list[float]], slate: SlateSettings | None = None) -> SmallShop:
    """Items of these vectors, each acted on by somebody."""
    shop = SmallShop(slate)
    for place, item in enumerate(vectors):
        shop.act(f"of {item}", item, NOW - place)
    shop.train(list(vectors))
    shop.sync()
    slots = shop.slots(list(vectors)).astype(np.int64)
    shop.served.index.upsert(slots, np.array(list(vectors.values()), dtype=np.float32))
    return shop


VECTORS: dict[Id, list[float]] = {
    "bad": [1, 0, 0, 0],
    "worse": [0, 2, 0, 0],
    "alike": [3, 4, 0, 0],
    "same": [5, 0, 0, 0],
    "other": [0, 0, 1, 0],
    "opposite": [-1, 0, 0, 0],
}


def test_items_with_vectors_are_as_alike_as_their_cosine_to_the_nearest() -> None:
    shop = with_vectors(VECTORS)
    items: list[Id] = ["alike", "same", "other", "opposite"]
    assert similarities(shop, items, ["bad", "worse"]) == pytest.approx([0.8, 1.0, 0.0, 0.0], abs=1e-6)
    assert similarities(shop, items, []) == [0.0] * 4
    assert similarities(shop, [], ["bad"]) == []


def test_only_the_newest_dislikes_are_compared_with() -> None:
    shop = with_vectors(VECTORS)
    many: list[Id] = ["other"] * COMPARED
    assert similarities(shop, ["same"], [*many[1:], "bad"]) == pytest.approx([1.0])
    assert similarities(shop, ["same"], [*many, "bad"]) == [0.0]


def test_items_without_vectors_are_as_alike_as_the_features_and_users_they_share() -> None:
    shop = SmallShop()
    shop.describe("bad", {"genre": ["a", "b"], "year": 1999, "none": None})
    shop.describe("alike", {"genre": ["b", "c"], "year": 1999})
    shop.describe("unlike", {"genre": "d"})
    for user in range(4):
        shop.act(user, "bad", NOW - 7 * DAY)
        shop.act(user, "visited", NOW - 7 * DAY + 1)
    for user in range(12):
        shop.act(100 + user, "visited", NOW - 7 * DAY)
    shop.sync()
    found = similarities(shop, ["alike", "unlike", "visited"], ["bad"])
    # {a, b, 1999} and {b, c, 1999}; four users of both among four and sixteen.
    assert found == pytest.approx([2 / 4, 0.0, 4 / math.sqrt(4 * 16)], rel=1e-5)


def test_the_slate_puts_what_is_like_it_lower_and_tells_the_same_probabilities() -> None:
    def ask(shop: SmallShop, user: Id) -> Slate:
        return shop.scorer.recommend_many([Request(user, 20)], NOW)[0]

    shop, plain = with_vectors(VECTORS), with_vectors(VECTORS, SlateSettings(dislike_penalty=0.0))
    for one in (shop, plain):
        one.disliked = {"ann": ["bad"]}
    scores = {one.item_id: one.score for one in ask(plain, "ann").items}
    assert [one.item_id for one in ask(plain, "ann").items] == sorted(scores, key=lambda item: -scores[item])
    wanted = {item: score * (1 - 0.5 * max(0, cosine(item))) for item, score in scores.items()}
    slate = ask(shop, "ann").items
    assert [one.item_id for one in slate] == sorted(wanted, key=lambda item: -wanted[item])
    assert {one.item_id: one.score for one in slate} == scores
    assert slate[-1].item_id == "same"
    assert [one.item_id for one in ask(shop, "ben").items] == [one.item_id for one in ask(plain, "ben").items]


def cosine(item: Id) -> float:
    vector = np.array(VECTORS[item])
    assert key_of(item, "item")
    return float(vector[0] / np.linalg.norm(vector))
