"""Candidates by content: the items of the values that are expected to be acted on, and none that lost the value."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.content.pairs import ITEM, pairs_of, priors_of
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.inputs import NO_CANDIDATES, Inputs, collate
from stream_reco.retrieve.content_source import ContentSource
from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.content.values import values_of
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT

PRIORS = priors_of(ContentSettings())
NOBODY = np.full(RECENT, -1, dtype=np.int32)
COLOURS = ("red", "blue", "green")


class Liked:
    """A table in which the coefficients of some keys are known."""

    def __init__(self, means: dict[int, float]) -> None:
        self._means = means

    def lookup(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.array([[self._means.get(key, 0.0), 0.0] for key in keys.tolist()], dtype=np.float32).reshape(-1, 2)


def request(profile: dict[str, Any] | None = None, users: FeatureFields | None = None) -> Inputs:
    empty = np.zeros(CONTEXT_FIELDS, np.int64), np.zeros(RECENT, np.int64), np.full(RECENT, -1, np.float32)
    inputs = Inputs(7, *empty, *NO_CANDIDATES)
    if profile is None or users is None:
        return inputs
    return Inputs(7, *empty, *NO_CANDIDATES, profile=values_of(users, profile, 0))


def shop(items: list[dict[str, Any] | None]) -> ItemContent:
    content = ItemContent(items, FeatureFields("item"))
    for slot, features in enumerate(items):
        content.set(slot, features)
    return content


def liking(content: ItemContent, value: str) -> Liked:
    """Everybody likes a value of the feature "colour"."""
    at = next(slot for slot in range(len(COLOURS)) if COLOURS[slot] == value)
    counts, said = content.read(np.array([at], np.int32), 0)
    one = Inputs(
        7,
        *(np.zeros(CONTEXT_FIELDS, np.int64), np.zeros(RECENT, np.int64), np.full(RECENT, -1, np.float32)),
        np.array([1], np.int64),
        np.zeros((1, 0), np.float32),
        np.ones(1, np.float32),
        counts=counts,
        said=said,
    )
    pairs = pairs_of(collate([one]), PRIORS)
    return Liked({int(key): 2.0 for key in pairs.keys[pairs.parts == ITEM]})


def proposed(
    content: ItemContent, table: Liked, quota: int = 4, turn: int = 0, recent: NDArray[np.int32] = NOBODY
) -> list[int]:
    source = ContentSource(quota)
    (slots,) = source.propose(content, [request()], [recent], [turn], {"content": table}, PRIORS)
    return [int(one) for one in slots]


def test_items_of_what_is_liked_come_first_and_the_newest_of_them() -> None:
    items: list[dict[str, Any] | None] = [{"colour": COLOURS[slot % 3]} for slot in range(60)]
    content = shop(items)
    found = proposed(content, liking(content, "blue"), quota=30)
    assert {slot % 3 for slot in found[:10]} == {1}
    assert found[0] == 58


def test_each_turn_brings_others() -> None:
    items: list[dict[str, Any] | None] = [{"colour": COLOURS[slot % 3]} for slot in range(300)]
    content = shop(items)
    blue = liking(content, "blue")
    seen = {slot for turn in range(20) for slot in proposed(content, blue, quota=60, turn=turn) if slot % 3 == 1}
    assert len(seen) > 90


def test_nothing_is_proposed_where_nothing_is_said_or_learned() -> None:
    nothing = shop([None, {}])
    assert proposed(nothing, Liked({})) == []
    content = shop([{"colour": "red"}])
    (slots,) = ContentSource(4).propose(content, [request()], [NOBODY], [0], {}, PRIORS)
    assert not len(slots), "before the first version there is no table"
    assert proposed(content, Liked({}), quota=0) == []


def test_a_rare_value_is_asked_for_by_those_who_say_it_or_acted_on_it() -> None:
    items: list[dict[str, Any] | None] = [{"brand": f"b{slot % 150}"} for slot in range(300)]
    content, users = shop(items), FeatureFields("user")
    assert not content.common_values
    encoded(users, {"wears": "B9"}, learn=True)
    source, table = ContentSource(8), {"content": Liked({})}
    (said,) = source.propose(content, [request({"wears": "B9"}, users)], [NOBODY], [0], table, PRIORS)
    assert set(said.tolist()) == {9, 159}
    recent = NOBODY.copy()
    recent[0] = 7
    (acted,) = source.propose(content, [request()], [recent], [0], table, PRIORS)
    assert set(acted.tolist()) == {7, 157}


@given(
    changes=st.lists(st.tuples(st.integers(0, 11), st.sampled_from([*COLOURS, None])), max_size=60),
    turn=st.integers(0, 1000),
)
def test_nobody_is_proposed_who_lost_the_value(changes: list[tuple[int, str | None]], turn: int) -> None:
    items: list[dict[str, Any] | None] = [{"colour": colour} for colour in COLOURS] + [None] * 9
    content = shop(items)
    blue = liking(content, "blue")
    for slot, colour in changes:
        items[slot] = None if colour is None else {"colour": colour}
        content.set(slot, items[slot])
    of_any = {slot for slot, features in enumerate(items) if features}
    found = proposed(content, blue, quota=200, turn=turn)
    assert set(found) <= of_any
    assert len(found) == len(set(found))
    having_blue = {slot for slot, features in enumerate(items) if features == {"colour": "blue"}}
    assert set(found[: len(having_blue)]) == having_blue or len(having_blue) > 33
