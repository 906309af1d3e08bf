"""Some rows of a table, alone in another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_reco.embedding import SGD, Adagrad, EmbeddingTable, after
from stream_reco.embedding.kernels.optimizer import Optimizer
from stream_reco.embedding.table.selection import only

MARK = np.float32(123456.78)
"""In every row that is left out."""


def trained(optimizer: Optimizer, rows: int) -> EmbeddingTable:
    """Rows of the keys 1 … `rows`, the even ones marked, some of them gone again."""
    table = EmbeddingTable(3, optimizer, ttl_ms=1000, name="words", seed=7, budget_bytes=1 << 26, half_life_ms=50)
    keys = np.arange(1, rows + 1)
    for start in range(0, rows, 1000):
        table.train_rows(np.repeat(keys[start : start + 1000], 1 + keys[start : start + 1000] % 3), 10 + start)
    gradients = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    gradients[1::2] = MARK
    table.apply_gradients(keys, gradients)
    table.forget(keys[::7])
    return table


@pytest.mark.parametrize("optimizer", [Adagrad(lr=0.1), SGD(lr=1.0)], ids=lambda one: one.name)
@pytest.mark.parametrize("rows", [20, 30_000])
def test_the_rows_that_are_asked_for_go_on_as_in_the_table(optimizer: Optimizer, rows: int) -> None:
    table = trained(optimizer, rows)
    wanted = np.concatenate([np.arange(1, rows, 2), np.arange(1, 9, 2), [10 * rows]])
    expected = np.intersect1d(wanted, table.keys())
    chosen = only(table, wanted)
    chosen.check_invariants()
    np.testing.assert_array_equal(np.sort(chosen.keys()), expected)
    settings = ("name", "dim", "optimizer", "ttl_ms", "seed", "init_scale", "budget_bytes", "half_life_ms")
    assert [getattr(chosen, name) for name in settings] == [getattr(table, name) for name in settings]
    # A step by each optimizer's state, then eviction by last seen: both go on alike.
    gradients = np.random.default_rng(1).normal(size=(len(expected), 3)).astype(np.float32)
    for one in (table, chosen):
        one.apply_gradients(expected, gradients)
        one.train_rows(np.array([10 * rows + 1]), 2000)
    np.testing.assert_array_equal(chosen.lookup(expected), table.lookup(expected))
    gone, of_chosen = (np.intersect1d(one.evict(rows + 900), expected) for one in (table, chosen))
    np.testing.assert_array_equal(of_chosen, gone)
    assert len(gone) or rows < 1000


def test_nothing_of_other_rows_is_in_its_file(tmp_path: Path) -> None:
    table = trained(SGD(lr=1.0), 5_000)
    # What is left out is the only one of this size.
    assert np.abs(table.lookup(table.keys())).max() > MARK / 2
    chosen = only(table, np.arange(1, 5_000, 2))
    chosen.save(tmp_path / "chosen")
    contents = (tmp_path / "chosen").read_bytes()
    marked = table.lookup(table.keys()[table.keys() % 2 == 0])
    assert len(marked) > 2000
    assert not [row for row in marked if row.tobytes() in contents]
    assert EmbeddingTable.load(tmp_path / "chosen").keys().tolist() == chosen.keys().tolist()


def test_an_empty_choice_and_a_table_that_admits_few() -> None:
    assert len(only(EmbeddingTable(2), np.array([1, 2]))) == 0
    table = EmbeddingTable(2, admission=after(3), name="users")
    table.train_rows(np.array([5, 5, 5, 6]), 0)
    chosen = only(table, np.array([5, 6]))
    assert chosen.keys().tolist() == [5]
    chosen.train_rows(np.array([6, 6]), 0)
    assert chosen.keys().tolist() == [5], "sightings are counted anew"
