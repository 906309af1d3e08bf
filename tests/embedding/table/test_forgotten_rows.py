"""Rows that are removed by name: gone from the table, from its file, and from what follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_reco.embedding import EmbeddingTable

KEYS = np.array([7, 0x5EC2_E700_1234_5678, -3], dtype=np.int64)
GRADIENTS = np.full((3, 4), 0.25, dtype=np.float32)


def trained() -> EmbeddingTable:
    table = EmbeddingTable(4, name="user")
    table.train_rows(KEYS, 1)
    table.apply_gradients(KEYS, GRADIENTS)
    return table


def test_rows_go_and_the_others_stay_as_they_are() -> None:
    table = trained()
    before = table.lookup(KEYS[[0, 2]])
    table.drain_touched()
    assert table.forget(np.array([KEYS[1], KEYS[1], 99], dtype=np.int64)).tolist() == [KEYS[1]]
    assert len(table) == 2
    assert np.array_equal(table.lookup(KEYS), np.stack([before[0], np.zeros(4, np.float32), before[1]]))
    delta = table.drain_touched()
    assert (delta.keys.tolist(), delta.tombstones.tolist()) == ([], [KEYS[1]])
    table.check_invariants()
    assert table.forget(KEYS[1:2]).tolist() == []


def test_who_comes_back_starts_afresh() -> None:
    table, fresh = trained(), EmbeddingTable(4, name="user")
    table.forget(KEYS[1:2])
    for one in (table, fresh):
        one.train_rows(KEYS[1:2], 2)
        one.apply_gradients(KEYS[1:2], GRADIENTS[:1])
    assert np.array_equal(table.lookup(KEYS[1:2]), fresh.lookup(KEYS[1:2]))


def test_no_byte_of_a_row_is_left_in_the_file(tmp_path: Path) -> None:
    table = trained()
    key, vector = KEYS[1:2].tobytes(), table.lookup(KEYS[1:2]).tobytes()
    table.save(tmp_path / "table")
    assert all(one in (tmp_path / "table").read_bytes() for one in (key, vector))
    table.forget(KEYS[1:2])
    table.save(tmp_path / "with")
    assert key in (tmp_path / "with").read_bytes(), "as a tombstone"
    table.save(tmp_path / "without", tombstones=False)
    assert not any(one in (tmp_path / "without").read_bytes() for one in (key, vector))
    assert EmbeddingTable.load(tmp_path / "without").keys().tolist() == [7, -3]
