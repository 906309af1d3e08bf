"""A replica's vectors of items follow its features and rows, a bounded number with each publication."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.encoder.encoding import all_keys, encode, spelled
from stream_reco.retrieve import encoded_items
from stream_reco.retrieve.encoded_items import EncodedItems
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent

DIM = 8
NOTHING = np.empty(0, dtype=np.int32)


def content_of(count: int) -> ItemContent:
    features: list[dict[str, Any] | None] = [{"kind": f"k{slot % 5}", "size": f"s{slot % 3}"} for slot in range(count)]
    content = ItemContent(features, FeatureFields("item"))
    for slot, one in enumerate(features):
        content.set(slot, one)
    return content


def rows_of(content: ItemContent, count: int) -> EmbeddingTable:
    table = EmbeddingTable(DIM, "sgd", name="encoder", init_scale=0.5)
    items = spelled(content.lasting(np.arange(count, dtype=np.int32)))
    table.train_rows(np.unique(all_keys(items, range(count))), 0)
    return table


def now_of(content: ItemContent, count: int, table: EmbeddingTable) -> NDArray[np.int8]:
    """What all items have if they are encoded at this moment."""
    found = encode(spelled(content.lasting(np.arange(count, dtype=np.int32))), table, DIM)
    return np.rint(found * 127).astype(np.int8)


def slots(count: int) -> NDArray[np.int32]:
    return np.arange(count, dtype=np.int32)


def test_all_of_a_snapshot_are_encoded_and_rows_that_move_are_followed_in_turn() -> None:
    content = content_of(2_500)
    table, encoded = rows_of(content, 2_500), EncodedItems(DIM)
    encoded.follow(content, 2_500, slots(2_500), table)
    np.testing.assert_array_equal(encoded.codes.codes[:2_500], now_of(content, 2_500, table))
    table.apply_gradients(table.keys(), np.ones((len(table), DIM), np.float32))
    for _ in range(3):  # a thousand at a time
        encoded.follow(content, 2_500, NOTHING, table)
    np.testing.assert_array_equal(encoded.codes.codes[:2_500], now_of(content, 2_500, table))


def test_an_import_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_items, "_MOST", 100)
    monkeypatch.setattr(encoded_items, "_FEWEST", 1)
    content = content_of(400)
    table, encoded = rows_of(content, 400), EncodedItems(DIM)
    encoded.follow(content, 400, slots(400), table)
    assert 100 <= np.count_nonzero(encoded.codes.codes.any(axis=1)) <= 101
    for _ in range(3):
        encoded.follow(content, 400, NOTHING, table)
    np.testing.assert_array_equal(encoded.codes.codes[:400], now_of(content, 400, table))


def test_what_is_no_longer_described_has_no_vector() -> None:
    content = content_of(10)
    table, encoded = rows_of(content, 10), EncodedItems(DIM)
    encoded.follow(content, 10, slots(10), table)
    assert encoded.has(3)
    content.set(3, None)
    encoded.follow(content, 10, np.array([3], np.int32), table)
    assert not encoded.has(3)
    encoded.clear()
    assert not any(encoded.has(slot) for slot in range(10))


def test_those_near_to_medoids_take_turns_the_most_alike_first() -> None:
    content = content_of(60)
    table, encoded = rows_of(content, 60), EncodedItems(DIM)
    encoded.follow(content, 60, slots(60), table)
    among, medoids = slots(60)[30:], np.array([0, 1], np.int32)
    cosines = encoded.codes.nearest(encoded.codes.of(medoids), among)
    found = encoded.near(medoids, among, 6)
    assert len(found) == len(set(found.tolist())) <= 6
    best = [int(among[int(np.argmax(one))]) for one in cosines]
    assert found[:2].tolist() == best
    for slot in found.tolist():
        assert cosines[:, slot - 30].max() > 0.0
    assert len(encoded.near(medoids, NOTHING, 6)) == 0
    assert len(encoded.near(NOTHING, among, 6)) == 0
    assert len(encoded.near(medoids, among, 0)) == 0


def test_nothing_is_encoded_without_rows_or_where_vectors_are_off() -> None:
    content = content_of(5)
    encoded = EncodedItems(DIM)
    encoded.follow(content, 5, slots(5), None)
    assert not encoded.has(0)
    off = EncodedItems(0)
    off.follow(content, 5, slots(5), rows_of(content, 5))
    assert not off.has(0)
