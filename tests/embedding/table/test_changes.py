"""What several trainers changed in a table, put together, beside a plain dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import Adagrad, EmbeddingTable, RowChanges, RowDeltas, after

DIM = 3
KEYS = 6
Act = tuple[int, list[int]]
"""0: a step of these keys, which get rows; 1: they leave."""
ACTS = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), st.lists(st.integers(1, KEYS), min_size=1, max_size=4)))


def table_of(**settings: object) -> EmbeddingTable:
    return EmbeddingTable(DIM, Adagrad(lr=0.4), name="item", seed=5, **settings)  # type: ignore[arg-type]


def gradients(keys: NDArray[np.int64], at: int) -> NDArray[np.float32]:
    return np.sin(np.outer(keys + at, np.arange(1, DIM + 1))).astype(np.float32)


def act(table: EmbeddingTable, acts: Sequence[Act], at: int = 0) -> None:
    for number, (leaves, chosen) in enumerate(acts):
        keys = np.array(sorted(set(chosen)), dtype=np.int64)
        if leaves:
            table.forget(keys)
        else:
            table.train_rows(keys, number)
            table.apply_gradients(keys, gradients(keys, at + number))


def content(table: EmbeddingTable) -> dict[int, bytes]:
    keys = np.sort(table.keys())
    return {int(key): row.tobytes() for key, row in zip(keys, table.lookup(keys), strict=True)}


def meet(all_changes: Sequence[RowChanges], order: Sequence[int] | None = None) -> list[RowDeltas]:
    """All trainers meet; `order` is that of the log."""
    deltas = [changes.deltas() for changes in all_changes]
    log = deltas if order is None else [deltas[number] for number in order]
    for changes in all_changes:
        changes.merge(log, 0)
    return log


@settings(deadline=None)
@given(st.lists(st.tuples(ACTS, ACTS, ACTS), min_size=1, max_size=3))
def test_all_have_one_table_to_the_bit_and_it_is_what_the_log_makes_of_a_new_one(
    rounds: list[tuple[list[Act], list[Act], list[Act]]],
) -> None:
    tables = [table_of() for _ in range(3)]
    all_changes = [RowChanges(table) for table in tables]
    log: list[RowDeltas] = []
    for number, acts in enumerate(rounds):
        for trainer, (table, its) in enumerate(zip(tables, acts, strict=True)):
            act(table, its, 10 * number + trainer)
        log += meet(all_changes)
    first, *others = [content(table) for table in tables]
    assert all(other == first for other in others)
    late = table_of()
    RowChanges(late).merge(log, 0)
    assert content(late) == first
    for table in (*tables, late):
        table.check_invariants()


@settings(deadline=None)
@given(ACTS, ACTS)
def test_sums_are_those_of_a_dictionary_in_any_order_of_arrival(first: list[Act], second: list[Act]) -> None:
    steps = [[(0, keys) for leaves, keys in acts if not leaves] for acts in (first, second)]
    begun = table_of()
    begun.train_rows(np.arange(1, KEYS + 1), 0)
    start = begun.lookup(np.arange(1, KEYS + 1)).astype(np.float64)
    alone = []
    for number, acts in enumerate(steps):
        table = table_of()
        act(table, acts, number)
        alone.append({int(key): row for key, row in zip(table.keys(), table.lookup(table.keys()), strict=True)})
    wanted = {
        key: start[key - 1] + sum(one[key].astype(np.float64) - start[key - 1] for one in alone if key in one)
        for key in {*alone[0], *alone[1]}
    }
    for order in permutations(range(2)):
        tables = [table_of(), table_of()]
        all_changes = [RowChanges(table) for table in tables]
        for number, (table, acts) in enumerate(zip(tables, steps, strict=True)):
            act(table, acts, number)
        meet(all_changes, order)
        keys = np.sort(tables[0].keys())
        # A row that nobody moved need not be everywhere.
        moved = [key for key in keys.tolist() if key in wanted]
        found = tables[0].lookup(np.array(moved, np.int64))
        assert np.allclose(found, np.array([wanted[key] for key in moved]).reshape(-1, DIM), atol=1e-5)


def test_accumulators_are_summed_so_that_steps_are_as_short_as_one_trainers() -> None:
    keys = np.array([1], np.int64)
    one, two = table_of(), table_of()
    changes = [RowChanges(one), RowChanges(two)]
    for table in (one, two):
        table.train_rows(keys, 0)
        table.apply_gradients(keys, np.full((1, DIM), 2.0, np.float32))
    meet(changes)
    before = one.lookup(keys)
    one.apply_gradients(keys, np.full((1, DIM), 1.0, np.float32))
    squares = 0.1 * 0 + 4.0 + 4.0 + 1.0 + Adagrad(lr=0.4).initial_accumulator_value
    assert np.allclose(before - one.lookup(keys), 0.4 / np.sqrt(squares), rtol=1e-4)


def test_what_left_at_one_side_leaves_at_both_unless_the_other_learned_from_it_after() -> None:
    tables = [table_of(), table_of()]
    changes = [RowChanges(table) for table in tables]
    act(tables[0], [(0, [1, 2])])
    meet(changes)
    begun = table_of()
    begun.train_rows(np.array([2]), 0)
    tables[0].forget(np.array([1, 2]))
    act(tables[1], [(0, [2])], 7)
    moved = changes[1].deltas().deltas[0, :DIM]
    meet(changes, (0, 1))
    assert [sorted(table.keys().tolist()) for table in tables] == [[2], [2]]
    assert np.allclose(tables[0].lookup(np.array([2])), begun.lookup(np.array([2])) + moved, atol=1e-6)
    assert 1 in tables[1].drain_touched().tombstones, "scorers are told"


def test_a_publication_carries_rows_that_others_have_learned() -> None:
    tables = [table_of(), table_of()]
    changes = [RowChanges(table) for table in tables]
    tables[0].drain_touched()
    act(tables[1], [(0, [3, 4])])
    meet(changes)
    assert sorted(tables[0].drain_touched().keys.tolist()) == [3, 4]


def test_nothing_is_added_twice_where_nothing_was_learned_in_between() -> None:
    tables = [table_of(), table_of()]
    changes = [RowChanges(table) for table in tables]
    act(tables[0], [(0, [1, 2])])
    meet(changes)
    before = content(tables[1])
    assert all(one.is_empty for one in meet(changes))
    assert content(tables[1]) == before


def test_the_row_that_keys_without_one_share_is_shared_by_trainers() -> None:
    tables = [table_of(admission=after(5)), table_of(admission=after(5))]
    changes = [RowChanges(table) for table in tables]
    for number, table in enumerate(tables):
        table.apply_gradients(np.array([9], np.int64), gradients(np.array([number + 1], np.int64), 0))
    wanted = sum(table.default for table in tables)
    meet(changes)
    assert np.allclose(tables[0].default, wanted, atol=1e-6)
    assert tables[0].default.tobytes() == tables[1].default.tobytes()


def test_a_budget_holds_while_rows_of_others_come() -> None:
    bytes_of_many = 4_000_000
    tables = [table_of(budget_bytes=bytes_of_many), table_of(budget_bytes=bytes_of_many)]
    changes = [RowChanges(table) for table in tables]
    for number, table in enumerate(tables):
        keys = np.arange(1, 60_000, dtype=np.int64) * 2 + number
        table.train_rows(keys, number)
        table.apply_gradients(keys, gradients(keys, 0))
    meet(changes)
    for table in tables:
        assert table.nbytes - len(table.drain_touched().tombstones) * 8 <= bytes_of_many
        table.check_invariants()


def test_optimizers_that_keep_averages_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'item' is trained with adam.* training\.trainers"):
        RowChanges(EmbeddingTable(2, "adam", name="item"))
