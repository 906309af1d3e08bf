"""Merged item events against a plain dict, in order and out of order."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement

NAMES = ("price", "kind", "tags")
VALUE = st.one_of(st.none(), st.integers(0, 3), st.just(["a", "b"]))


@st.composite
def statements(draw: st.DrawFn) -> list[Statement]:
    """Statements of distinct times, in the order of time."""
    count = draw(st.integers(0, 8))
    return [
        Statement(
            1_600_000_000_000 + at,
            draw(st.dictionaries(st.sampled_from(NAMES), VALUE)),
            draw(st.sampled_from([None, True, False])),
            draw(st.booleans()) and draw(st.booleans()),
        )
        for at in range(count)
    ]


def in_order(said: list[Statement]) -> tuple[dict[str, Any], bool]:
    """What holds at the end: the rule as one would say it."""
    features: dict[str, Any] = {}
    available = True
    for one in said:
        if one.replace:
            features, available = {}, True
        features |= one.features
        if one.available is not None:
            available = one.available
    return {name: value for name, value in features.items() if value is not None}, available


def found(catalogue: Catalogue) -> tuple[dict[str, Any], bool]:
    return catalogue.features[0] or {}, bool(catalogue.available[0])


@settings(max_examples=300, deadline=None)
@given(statements(), st.randoms(use_true_random=False), st.integers(0, 8))
def test_the_newest_statement_on_each_part_holds_whatever_comes_first(
    said: list[Statement], random: Any, restart: int
) -> None:
    wanted = in_order(said)
    arrived = random.sample(said, len(said))
    catalogue = Catalogue()
    assert catalogue.admit("i") == 0
    for place, one in enumerate(arrived):
        if place == restart:
            catalogue = Catalogue.from_state(catalogue.state())
        catalogue.describe(0, one)
    assert found(catalogue) == wanted
    assert catalogue.described[0] == max((one.time for one in said), default=0)
    assert catalogue.unavailable == (not wanted[1])


def test_what_is_not_named_stays() -> None:
    catalogue = Catalogue()
    catalogue.admit("i")
    assert found(catalogue) == ({}, True)
    catalogue.describe(0, Statement(1, {"kind": "tea", "price": 3}))
    catalogue.describe(0, Statement(2, {"price": 4}))
    assert found(catalogue) == ({"kind": "tea", "price": 4}, True)
    catalogue.describe(0, Statement(3, {}, available=False))
    assert found(catalogue) == ({"kind": "tea", "price": 4}, False)
    catalogue.describe(0, Statement(4, {"kind": None}))
    assert found(catalogue) == ({"price": 4}, False)
    catalogue.describe(0, Statement(5, {"size": 1}, replace=True))
    assert found(catalogue) == ({"size": 1}, True)


def test_of_equal_times_the_last_statement_holds() -> None:
    catalogue = Catalogue()
    catalogue.admit("i")
    for price in (3, 4):
        catalogue.describe(0, Statement(7, {"price": price}, available=price == 3))
    assert found(catalogue) == ({"price": 4}, False)


def test_a_state_of_a_release_without_merges_is_taken_as_one_that_replaced() -> None:
    catalogue = Catalogue()
    catalogue.admit("i")
    catalogue.describe(0, Statement(10, {"price": 3}))
    former = {
        name: part for name, part in catalogue.state().items() if name not in ("replaced", "said_available", "older")
    }
    catalogue = Catalogue.from_state(former)
    catalogue.describe(0, Statement(9, {"price": 1, "kind": "tea"}, available=False))
    assert found(catalogue) == ({"price": 3}, True)
    catalogue.describe(0, Statement(11, {"kind": "tea"}))
    assert found(catalogue) == ({"price": 3, "kind": "tea"}, True)


def test_a_slot_that_was_freed_knows_nothing_of_its_former_item() -> None:
    catalogue = Catalogue()
    catalogue.admit("i")
    catalogue.describe(0, Statement(10, {"price": 3}, available=False))
    catalogue.describe(0, Statement(11, {"kind": "tea"}))
    catalogue.release([0])
    catalogue.rested()
    assert catalogue.unavailable == 0
    assert catalogue.admit("j") == 0
    catalogue.describe(0, Statement(5, {"kind": "mug"}))
    assert found(catalogue) == ({"kind": "mug"}, True)


def test_statements_of_a_clock_that_was_ahead_are_no_newer_than_the_present() -> None:
    catalogue = Catalogue()
    catalogue.admit("i")
    catalogue.describe(0, Statement(1_000, {"price": 3, "kind": "tea"}, available=False))
    catalogue.describe(0, Statement(2_000, {"price": 4}))
    assert catalogue.turn_back(100).tolist() == [True]
    assert np.array_equal(catalogue.described[:1], [100])
    catalogue.describe(0, Statement(101, {"kind": None, "price": 5}, available=True))
    assert found(catalogue) == ({"price": 5}, True)


def test_rows_of_an_earlier_release_are_read() -> None:
    """Up to version 0.2.0 there was a list of pairs of an id and features."""
    catalogue = Catalogue()
    said: list[dict[str, Any]] = [{"kind": "tea"}, {}, {"size": 3}]
    for number, features in enumerate(said):
        catalogue.describe(catalogue.admit(number), Statement(number + 1, features))
    catalogue.admit("named only")
    catalogue.release([1])
    parts = catalogue.state()
    entries = [(catalogue.ids[slot], msgspec.Raw(catalogue.features.raw(slot))) for slot in range(4)]
    older = {name: part for name, part in parts.items() if name not in ("ids", "lengths", "packed")}
    older["entries"] = np.frombuffer(msgspec.msgpack.encode(entries), dtype=np.uint8)
    for state in (parts, older):
        restored = Catalogue.from_state(state)
        assert restored.ids == [0, None, 2, "named only"]
        assert [*restored.features] == [{"kind": "tea"}, None, {"size": 3}, None]
        assert [restored.slot_of(item) for item in (0, 1, 2, "named only")] == [0, -1, 2, 3]
