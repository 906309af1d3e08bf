"""What tables are given: numbers of every kind are made plain, and what is none is named; copies are refused."""

import copy
import pickle  # noqa: TID251 - what is refused
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_reco.embedding import SGD, EmbeddingTable, ReplicaTable, after


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"dim": 2.5}, "dim is 2.5, must be a whole number"),
        ({"dim": True}, "dim is True"),
        ({"dim": "4"}, "dim is '4'"),
        ({"ttl_ms": 5.0}, "ttl_ms is 5.0, must be a whole number of milliseconds"),
        ({"budget_bytes": 3e6}, "budget_bytes is 3000000.0, must be a whole number of bytes"),
        ({"half_life_ms": 3.6e6}, "half_life_ms is 3600000.0"),
        ({"seed": "abc"}, "seed is 'abc'"),
        ({"init_scale": "a"}, "init_scale is 'a', must be a number"),
        ({"name": 5}, "name is 5, must be text"),
        ({"admission": 3}, "admission is 3, must be None, after.k. or probability.p."),
        ({"admission": "after"}, "admission is 'after'"),
    ],
)
def test_what_is_of_another_type_is_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        EmbeddingTable(**{"dim": 4, **settings})


def test_a_learning_rate_that_is_no_number_is_named() -> None:
    with pytest.raises(TypeError, match="sgd: lr is 'a', must be a number"):
        SGD(lr="a")  # type: ignore[arg-type]


def test_a_name_that_no_file_can_hold_is_named() -> None:
    for table in (EmbeddingTable, ReplicaTable):
        with pytest.raises(ValueError, match=r"name is '\\ud800', which UTF-8 cannot hold"):
            table(2, name="\ud800")


def test_numbers_of_numpy_are_taken_everywhere(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {
        "dim": np.int64(3),
        "ttl_ms": np.uint32(7),
        "seed": np.int16(-4),
        "budget_bytes": np.int64(3_000_000),
        "half_life_ms": np.int64(9),
        "init_scale": np.float32(0.5),
    }
    admission = after(np.int64(2), np.int32(50))  # type: ignore[arg-type]
    table = EmbeddingTable(optimizer=SGD(lr=np.float32(0.5)), admission=admission, **numbers)  # type: ignore[arg-type]
    plain = EmbeddingTable(
        3, SGD(lr=0.5), after(2, 50), 7, seed=-4, budget_bytes=3_000_000, half_life_ms=9, init_scale=0.5
    )
    for each in (table, plain):
        each.train_rows([1, 1, 2], 0)
        each.save(tmp_path / f"{each is plain}")
    assert (tmp_path / "True").read_bytes() == (tmp_path / "False").read_bytes()
    assert len(EmbeddingTable.load(tmp_path / "False")) == 1


def test_a_limit_is_checked() -> None:
    for ttl in (5, None):
        table = EmbeddingTable(2, ttl_ms=ttl)
        for limit in (1.5, True, "1"):
            with pytest.raises(TypeError, match=f"limit is {limit!r}, must be a whole number of rows"):
                table.evict(100, limit)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="now is 'x'"):
            table.evict("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_table_cannot_be_copied_but_by_its_file(copied: Callable[[object], object]) -> None:
    table = EmbeddingTable(2)
    table.train_rows([1], 0)
    for each in (table, ReplicaTable(2), table._store, table._store.data):
        with pytest.raises(TypeError, match="cannot be copied or pickled, as its rows lie at addresses"):
            copied(each)
    table.check_invariants()


def test_a_delta_that_was_given_back_may_be_changed() -> None:
    table = EmbeddingTable(2, ttl_ms=1)
    table.train_rows([7], 0)
    table.evict(9)
    delta = table.drain_touched()
    table.restore_touched(delta)
    delta.tombstones[:] = 8
    assert table.drain_touched().tombstones.tolist() == [7]


def test_keys_of_a_list_are_the_same_bits_on_both_sides_of_half() -> None:
    table = EmbeddingTable(2)
    assert table.train_rows([0, 2**64 - 1, -1, 2**63, -(2**63)], 0).tolist() == [0, 1, 1, 2, 2]
    assert table.keys().tolist() == [0, -1, -(2**63)]
    for beyond in ([1, 2**64], [0, -(2**63) - 1], [1, 2.5], [1, None]):
        with pytest.raises(TypeError, match="must be int64 or uint64"):
            table.lookup(beyond)  # type: ignore[arg-type]
