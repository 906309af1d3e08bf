"""Vectors of items against a plain dict: the newest statement holds, and what is not sound is counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.vectors import MOST_NAMES
from stream_reco.signals.item_updates import Statement

VECTOR = st.one_of(st.just(UNSET), st.none(), st.lists(st.integers(0, 9), min_size=1, max_size=3))


def vectors(catalogue: Catalogue, slot: int) -> dict[str, list[float]]:
    found = {}
    for name in catalogue.content.vectors.names:
        array = catalogue.content.vectors.array(name)
        assert array is not None
        assert array.rows.dtype == np.float32
        if array.present[slot]:
            found[name] = array.rows[slot].tolist()
        else:
            assert not array.rows[slot].any()
    return found


def catalogue_with(*said: Statement) -> Catalogue:
    catalogue = Catalogue()
    assert catalogue.admit("i") == 0
    for one in said:
        catalogue.describe(0, one)
    return catalogue


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(VECTOR, st.booleans()), max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_the_newest_statement_holds_whatever_comes_first(said: list[Any], random: Any, restart: int) -> None:
    wanted = None
    for vector, replace in said:
        wanted = vector if vector is not UNSET else None if replace else wanted
    catalogue = catalogue_with()
    for place, at in enumerate(random.sample(range(len(said)), len(said))):
        if place == restart:
            catalogue = Catalogue.from_state({name: part.copy() for name, part in catalogue.state().items()})
        vector, replace = said[at]
        catalogue.describe(0, Statement(1_000 + at, {}, replace=replace, vector=vector))
    assert vectors(catalogue, 0) == ({} if wanted is None else {f"vector[{len(wanted)}]": wanted})


def test_a_vector_of_another_length_is_another_thing_and_named() -> None:
    catalogue = catalogue_with(Statement(1, {}, vector=[1.0] * 8), Statement(2, {}, vector=[2.0] * 16))
    assert catalogue.content.vectors.names == ["vector[8]", "vector[16]"]
    assert vectors(catalogue, 0) == {"vector[16]": [2.0] * 16}
    assert [catalogue.content.vectors.of(slot) for slot in (0, 1, 10**6)] == [[2.0] * 16, None, None]
    catalogue.describe(catalogue.admit("j"), Statement(3, {}, vector=[3.0] * 8))
    assert vectors(catalogue, 1) == {"vector[8]": [3.0] * 8}


@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [1e300], [-(10.0**39)], [], ["a"], [None, 1.0], [10**400]])
def test_what_is_not_finite_is_counted_and_leaves_what_was_there(bad: Any) -> None:
    catalogue = catalogue_with(Statement(1, {}, vector=[1.0]), Statement(2, {}, vector=bad))
    assert vectors(catalogue, 0) == {"vector[1]": [1.0]}
    assert catalogue.content.vectors.refused == 1
    assert Catalogue.from_state(catalogue.state()).content.vectors.refused == 1


def test_lists_of_numbers_are_vectors_of_their_feature() -> None:
    image, other = [0.5] * 12, [1.0] * 9
    catalogue = catalogue_with(Statement(1, {"image": image, "vector": other, "kind": "tea"}, vector=[2.0] * 9))
    assert vectors(catalogue, 0) == {"image[12]": image, "features.vector[9]": other, "vector[9]": [2.0] * 9}
    catalogue.describe(0, Statement(2, {"image": other, "vector": None}))
    assert vectors(catalogue, 0) == {"image[9]": other, "vector[9]": [2.0] * 9}
    catalogue.describe(0, Statement(3, {"image": [math.nan, *image]}))
    assert vectors(catalogue, 0) == {"vector[9]": [2.0] * 9}
    assert catalogue.content.vectors.refused == 1
    catalogue.describe(0, Statement(4, {"image": "a picture"}))
    assert catalogue.content.fields.misfits[catalogue.content.fields.find("image")] == 1


def test_the_next_item_in_a_slot_has_nothing_of_the_former() -> None:
    catalogue = catalogue_with(Statement(5, {"image": [0.5] * 8}, vector=[1.0]))
    catalogue.release([0])
    catalogue.rested()
    assert catalogue.admit("j") == 0
    assert vectors(catalogue, 0) == {}
    catalogue.describe(0, Statement(1, {}, vector=[2.0]))
    assert vectors(catalogue, 0) == {"vector[1]": [2.0]}


def test_too_many_names_are_counted() -> None:
    catalogue = catalogue_with(*(Statement(dim, {}, vector=[1.0] * dim) for dim in range(1, MOST_NAMES + 5)))
    assert len(catalogue.content.vectors.names) == MOST_NAMES
    assert catalogue.content.vectors.refused == 4
    assert vectors(catalogue, 0) == {f"vector[{MOST_NAMES}]": [1.0] * MOST_NAMES}


def test_arrays_grow_with_the_catalogue() -> None:
    catalogue = Catalogue()
    for number in range(3_000):
        catalogue.describe(catalogue.admit(number), Statement(1, {}, vector=[float(number)]))
    assert vectors(catalogue, 2_999) == {"vector[1]": [2_999.0]}
    restarted = Catalogue.from_state(catalogue.state())
    assert vectors(restarted, 1_500) == {"vector[1]": [1_500.0]}


@pytest.mark.parametrize("kind", [Kind.IGNORED, Kind.CATEGORY])
def test_a_vector_that_is_declared_to_be_none_is_none_from_then_on(kind: Kind) -> None:
    catalogue = catalogue_with(Statement(1, {"image": [0.5] * 8, "shape": [1.0] * 9}))
    replica = Catalogue()
    replica.content.fields.apply(catalogue.content.fields.parts())
    replica.apply(catalogue.rows(np.array([0], dtype=np.int32)))
    assert vectors(replica, 0) == vectors(catalogue, 0)
    fields = FeatureFields("item", {"image": kind})
    fields.restore(catalogue.content.fields.state())
    assert fields.declare()
    restarted = Catalogue.from_state(catalogue.state(), fields)
    assert vectors(restarted, 0) == {"shape[9]": [1.0] * 9}
    replica.content.read_again(replica.content.fields.apply(fields.parts()))
    assert vectors(replica, 0) == {"shape[9]": [1.0] * 9}
