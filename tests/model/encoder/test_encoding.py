"""Vectors of items held to sums over a plain dict of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.encoder.encoding import all_keys, encode, gradient_rows, spelled
from stream_reco.model.encoder.item_codes import ItemCodes
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import DAY_MS

DIM = 4
ALL = 3
FEATURES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["a", "b", "c"]),
        "tags": st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True),
        "price": st.floats(0.0, 100.0),
        "title": st.lists(st.sampled_from(["one", "two", "three", "four"]), min_size=4, max_size=6).map(" ".join),
        "look": st.lists(st.floats(-1.0, 1.0), min_size=9, max_size=9),
    },
)


def described(items: list[dict[str, Any] | None], fields: FeatureFields | None = None) -> ItemContent:
    content = ItemContent(items, FeatureFields("item") if fields is None else fields)
    for slot, features in enumerate(items):
        content.set(slot, features)
    return content


def slots_of(items: list[Any]) -> NDArray[np.int32]:
    return np.arange(len(items), dtype=np.int32)


@settings(deadline=None)  # the first call compiles
@given(items=st.lists(FEATURES, min_size=1, max_size=6))
def test_a_vector_is_the_tanh_of_the_sum_of_its_rows(items: list[dict[str, Any] | None]) -> None:
    said = spelled(described(items).lasting(slots_of(items)))
    table = EmbeddingTable(DIM, name="encoder", init_scale=0.2)
    table.train_rows(np.unique(all_keys(said, range(len(items)))), 0)
    rows = dict(zip(table.keys().tolist(), table.lookup(table.keys()), strict=True))
    encoded = encode(said, table, DIM)
    for one in range(len(items)):
        sums = np.zeros(DIM)
        for at in range(said.bounds[one], said.bounds[one + 1]):
            sums += said.weights[at] * rows[int(said.keys[at])]
        for places, vectors in said.vectors:
            # The rows of a given vector are there where any item has one.
            for key, number in zip(places.tolist(), vectors[one].tolist(), strict=True):
                sums += number * rows[key] if number else 0.0
        np.testing.assert_allclose(encoded[one], np.tanh(sums), atol=1e-5)


@settings(deadline=None)  # the first call compiles
@given(items=st.lists(FEATURES, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_gradient_goes_to_each_row_by_its_weight(items: list[dict[str, Any] | None], seed: int) -> None:
    said = spelled(described(items).lasting(slots_of(items)))
    slopes = np.random.default_rng(seed).normal(size=(len(items), DIM)).astype(np.float32)
    found = gradient_rows(said, slopes)
    owners = np.repeat(np.arange(len(items)), np.diff(said.bounds))
    np.testing.assert_allclose(found, said.weights[:, None] * slopes[owners], rtol=1e-6)


def test_what_is_said_is_the_same_at_any_time() -> None:
    content = described([{"since": "2026-11-01T08:00:00Z"}, {"since": "2026-11-02T08:00:00Z"}])
    said = content.lasting(slots_of([0, 1]))
    now = 1_800_000_000_000
    ages = [content.read(slots_of([0, 1]), at)[1].weights[0] for at in (now, now + DAY_MS)]
    assert ages[0] != ages[1], "an age changes"
    weights = said.values.weights.reshape(2, -1)
    np.testing.assert_array_equal(weights[:, 0], 0.0)
    np.testing.assert_array_equal(weights[:, 1:], 1.0)  # hour and weekday


def test_given_vectors_of_another_scale_are_the_same_and_of_another_length_another_feature() -> None:
    content = described([None, None, None, None])
    for slot, vector in enumerate([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [1.0, 2.0], [0.0, 0.0, 0.0]]):
        content.vectors.merge(slot, Statement(1, {}, None, False, vector))
    said = spelled(content.lasting(slots_of([0, 1, 2, 3])))
    table = EmbeddingTable(DIM, name="encoder", init_scale=0.2)
    table.train_rows(np.unique(all_keys(said, range(4))), 0)
    encoded = encode(said, table, DIM)
    np.testing.assert_allclose(encoded[0], encoded[1], atol=1e-6)
    assert np.abs(encoded[0] - encoded[2]).max() > 0.01
    assert not encoded[3].any()
    assert len(table) == 5, "a row for each place of each length"


VECTORS = st.lists(st.lists(st.floats(-1.0, 1.0, width=32), min_size=DIM, max_size=DIM), min_size=1, max_size=8)


@settings(deadline=None)  # the first call compiles
@given(vectors=VECTORS)
def test_cosines_of_bytes_are_those_of_the_vectors(vectors: list[list[float]]) -> None:
    given_vectors = np.tanh(np.array(vectors, dtype=np.float32))
    codes = ItemCodes(DIM)
    codes.put(slots_of(vectors), given_vectors)
    stored = codes.codes[: len(vectors)].astype(np.float64)
    np.testing.assert_allclose(stored / 127, given_vectors, atol=0.5 / 127 + 1e-6)
    lengths = np.linalg.norm(stored, axis=1)
    expected = stored @ stored[0] / np.where(lengths * lengths[0] > 0, lengths * lengths[0], 1.0)
    np.testing.assert_allclose(codes.cosines(0, slots_of(vectors)), expected, atol=1e-6)


def test_items_without_a_vector_are_like_nothing_and_slots_grow() -> None:
    codes = ItemCodes(DIM)
    codes.put(np.array([5000], np.int32), np.full((1, DIM), 0.5, np.float32))
    assert codes.cosines(5000, np.array([5000, 1, 9999, -1], np.int32)).tolist() == [1.0, 0.0, 0.0, 0.0]
    codes.remove(np.array([5000, 10_000], np.int32))
    assert not codes.codes.any()


def test_bytes_are_restored() -> None:
    codes, other = ItemCodes(DIM), ItemCodes(DIM)
    assert len(codes.state()) == 0
    codes.put(np.array([1, ALL], np.int32), np.array([[0.5] * DIM, [-0.9] * DIM], np.float32))
    other.restore(codes.state())
    np.testing.assert_array_equal(other.of(np.arange(9, dtype=np.int32)), codes.of(np.arange(9, dtype=np.int32)))
