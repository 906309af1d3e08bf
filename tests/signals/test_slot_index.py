"""Slots by key against a dictionary, and items whose keys collide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Id, key_of
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.slot_index import SlotIndex

KEYS = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), *range(2, 12), *(number << 32 for number in range(1, 9))])
"""Also such as differ in their upper bits alone."""


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=200))
def test_it_has_what_a_dictionary_has(steps: list[tuple[bool, int]]) -> None:
    index, keys, model = SlotIndex(), np.zeros(64, dtype=np.int64), dict[int, int]()
    free = list(range(64))
    for adds, key in steps:
        if adds and key not in model:
            model[key] = free.pop()
            keys[model[key]] = key
            index.put(keys, model[key])
        elif not adds and key in model:
            index.remove(keys, model[key])
            free.append(model.pop(key))
    wanted = [0, 1, -1, 2**63 - 1, -(2**63), *range(2, 12), *(number << 32 for number in range(1, 9))]
    assert [index.find(keys, key) for key in wanted] == [model.get(key, -1) for key in wanted]
    assert index.find_all(keys, np.array(wanted)).tolist() == [model.get(key, -1) for key in wanted]


@settings(deadline=None)
@given(st.lists(KEYS, max_size=60), st.integers(0, 60))
def test_slots_that_are_entered_at_once_are_as_those_entered_one_by_one(given_keys: list[int], before: int) -> None:
    keys = np.array([*given_keys, 0], dtype=np.int64)
    at_once, model, left = SlotIndex(), dict[int, int](), list[int]()
    for slot, key in enumerate(given_keys[:before]):
        if model.setdefault(key, slot) == slot:
            at_once.put(keys, slot)
    for slot in range(len(given_keys) - 1, before - 1, -1):
        if model.setdefault(given_keys[slot], slot) != slot:
            left.append(slot)
    order = np.arange(len(given_keys) - 1, before - 1, -1, dtype=np.int32)
    assert at_once.put_all(keys, order).tolist() == left
    wanted = [0, 1, -1, 2**63 - 1, -(2**63), *range(2, 12), *(number << 32 for number in range(1, 9))]
    assert [at_once.find(keys, key) for key in wanted] == [model.get(key, -1) for key in wanted]


def test_many_come_and_go() -> None:
    index, rng = SlotIndex(), np.random.default_rng(0)
    keys = rng.permutation(np.arange(20_000, dtype=np.int64) * 4096)
    for slot in range(20_000):
        index.put(keys, slot)
    gone = rng.permutation(20_000)[:15_000]
    for slot in gone.tolist():
        index.remove(keys, slot)
    wanted = np.arange(20_000, dtype=np.int32)
    wanted[gone] = -1
    assert (index.find_all(keys, keys) == wanted).all()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("leaves", [0, 1])
def test_an_integer_that_is_the_hash_of_a_text_is_another_item(first: int, leaves: int) -> None:
    ids: list[Id] = ["a", key_of("a", "item")]
    catalogue = Catalogue()
    for item in (ids[first], ids[1 - first]):
        catalogue.describe(catalogue.admit(item), Statement(1, {"name": str(item)}))
    assert [catalogue.slot_of(item) for item in ids] == [first, 1 - first]
    mirror = Catalogue.from_state(catalogue.state())
    for one in (catalogue, mirror):
        one.release([one.slot_of(ids[leaves])])
        slot = one.slot_of(ids[1 - leaves])
        assert slot == (first if leaves else 1 - first)
        assert (one.features[slot] or {})["name"] == str(ids[1 - leaves])
        assert one.slots_of_keys([key_of("a", "item")]).tolist() == [slot]
        assert one.slot_of(ids[leaves]) == -1
        assert len(one) == 1
        one.release([slot])
        assert one.slots_of_keys([key_of("a", "item")]).tolist() == [-1]


@pytest.mark.parametrize("item", [2**63, -(2**63) - 1, 2**70, "\ud800"])
def test_what_can_name_no_item_has_no_slot(item: Id) -> None:
    catalogue = Catalogue()
    catalogue.admit("a")
    assert catalogue.slot_of(item) == -1
