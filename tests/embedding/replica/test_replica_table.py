"""The table of a replica against a dict, over random deltas, in every precision."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import PRECISIONS, Delta, EmbeddingTable, Precision, ReplicaTable
from stream_reco.embedding.kernels import rows as row_kernels
from stream_reco.embedding.replica import precision

LOW, HIGH = -(1 << 63), (1 << 63) - 1
KEY = st.one_of(st.integers(0, 30), st.sampled_from([0, -1, LOW, HIGH]), st.integers(LOW, HIGH))
NONE = np.empty(0, np.int64)
DIM = 5
Vectors = NDArray[np.float32]


def delta_of(keys: list[int], vectors: Vectors, tombstones: list[int], default: Vectors | None = None) -> Delta:
    return Delta("item", vectors.shape[1], np.array(keys, np.int64), vectors, np.array(tombstones, np.int64), default)


def error_of_bfloat16(vectors: Vectors) -> Vectors:
    return np.abs(vectors) * np.float32(2.0**-8)


def error_of_int8(vectors: Vectors) -> Vectors:
    step: Vectors = np.abs(vectors).max(axis=1, keepdims=True, initial=0) / np.float32(253.9)
    return step


def error_of_tanh8(vectors: Vectors) -> Vectors:
    # The slope of atanh is at most that at the farther end of the step.
    farther = np.minimum(np.tanh(np.abs(vectors)) + 1 / 254, 0.9999)
    slack: Vectors = np.arctanh(farther) - np.abs(vectors) + np.float32(1e-6)
    return slack


BOUNDS: dict[Precision, Callable[[Vectors], Vectors]] = {
    "float32": np.zeros_like,
    "bfloat16": error_of_bfloat16,
    "int8": error_of_int8,
    "tanh8": error_of_tanh8,
}


def check_same(table: ReplicaTable, wanted: dict[int, Vectors], strangers: list[int], default: Vectors) -> None:
    assert len(table) == len(wanted)
    assert sorted(table.keys().tolist()) == sorted(wanted)
    vectors = np.array(list(wanted.values()), np.float32).reshape(-1, DIM)
    keys = np.array([*wanted, *strangers], np.int64)
    found = table.lookup(keys)
    assert (np.abs(found[: len(wanted)] - vectors) <= BOUNDS[table.precision](vectors)).all()
    assert (found[len(wanted) :] == default).all()
    table.check_invariants()


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[int], list[int], int, bool]:
    keys = draw(st.lists(KEY, unique=True, max_size=30))
    gone = [key for key in draw(st.lists(KEY, unique=True, max_size=20)) if key not in keys]
    return keys, gone, draw(st.integers(0, 1 << 30)), draw(st.integers(0, 4)) == 0


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", PRECISIONS)
@given(story=st.lists(changes(), max_size=12))
def test_deltas_and_tombstones_against_a_dict(
    kind: Precision, story: list[tuple[list[int], list[int], int, bool]]
) -> None:
    table, default = ReplicaTable(DIM, name="item", precision=kind), np.zeros(DIM, np.float32)
    wanted: dict[int, Vectors] = {}
    for keys, gone, seed, with_default in story:
        rng = np.random.default_rng(seed)
        vectors = rng.normal(0, 0.5, (len(keys), DIM)).astype(np.float32)
        new = rng.normal(size=DIM).astype(np.float32) if with_default else None
        table.apply_delta(delta_of(keys, vectors, gone, new))
        wanted = {key: row for key, row in wanted.items() if key not in gone}
        wanted |= dict(zip(keys, vectors, strict=True))
        default = default if new is None else new
        strangers = [key for key in (5, 7, 1 << 50, *gone) if key not in wanted]
        check_same(table, wanted, strangers, default)


@pytest.mark.parametrize("kind", PRECISIONS)
def test_a_trained_table_is_followed_through_growth_and_eviction(kind: Precision) -> None:
    rng = np.random.default_rng(5)
    trained, table = EmbeddingTable(DIM, ttl_ms=300, name="item"), ReplicaTable(DIM, name="item", precision=kind)
    for now in range(0, 2000, 50):
        keys = rng.zipf(1.3, 3000) % 20_000
        trained.train_rows(keys, now)
        trained.apply_gradients(keys, rng.normal(size=(3000, DIM)).astype(np.float32))
        trained.evict(now, limit=200)
        table.apply_delta(trained.drain_touched())
    keys = trained.keys()
    wanted = dict(zip(keys.tolist(), trained.lookup(keys), strict=True))
    assert len(wanted) > 4000
    check_same(table, wanted, [-1, 1 << 60], np.zeros(DIM, np.float32))


@pytest.mark.parametrize("kind", PRECISIONS)
def test_packed_rows_keep_every_bit(kind: Precision) -> None:
    rng = np.random.default_rng(1)
    anything = rng.integers(0, 1 << 32, (2000, DIM), dtype=np.uint32)
    anything[:100] = rng.integers(0x7F800001, 0x7FC00000, (100, DIM), dtype=np.uint32)  # NaN that signal
    vectors, keys = anything.view(np.float32), np.arange(2000)
    table = ReplicaTable(DIM, precision=kind)
    rows = precision.format_of(kind)
    packed = rows.pack(vectors)
    table.put(table.pack(Delta("", DIM, keys, vectors, NONE)))
    kept = table._store.gather(table._store.find(keys), np.zeros(rows.words(DIM), np.float32))
    np.testing.assert_array_equal(kept.view(np.uint32), packed.view(np.uint32))


def test_a_float32_replica_gives_back_the_bits_of_the_trained_table() -> None:
    trained, table = EmbeddingTable(7, name="item"), ReplicaTable(7, name="item")
    trained.train_rows(np.arange(500), 0)
    table.apply_delta(trained.snapshot())
    assert table.lookup(np.arange(600)).tobytes() == trained.lookup(np.arange(600)).tobytes()


def test_packing_changes_nothing_until_it_is_put() -> None:
    table = ReplicaTable(2, name="item", precision="int8")
    table.apply_delta(delta_of([1, 2], np.ones((2, 2), np.float32), []))
    packed = table.pack(delta_of([2, 3], np.zeros((2, 2), np.float32), [1]))
    assert sorted(table.keys().tolist()) == [1, 2]
    assert table.lookup([1, 2]).all()
    table.put(packed)
    assert sorted(table.keys().tolist()) == [2, 3]
    assert not table.lookup([1, 2, 3]).any()


def test_the_default_row_is_exact_in_every_precision_and_a_copy() -> None:
    default = np.array([0.1, -7, 1e-9], np.float32)
    for kind in PRECISIONS:
        table = ReplicaTable(3, name="item", precision=kind)
        table.apply_delta(delta_of([1], np.ones((1, 3), np.float32), [], default))
        np.testing.assert_array_equal(table.lookup([2, 9]), [default, default])
        table.default[:] = 5
        table.lookup([2])[:] = 5
        np.testing.assert_array_equal(table.default, default)
        np.testing.assert_array_equal(table.lookup([2])[0], default)


def test_less_precision_takes_less_memory() -> None:
    keys = np.arange(100_000)
    vectors = np.random.default_rng(0).normal(size=(len(keys), 96)).astype(np.float32)
    bytes_a_row = {}
    for kind in PRECISIONS:
        table = ReplicaTable(96, name="item", precision=kind)
        table.apply_delta(Delta("item", 96, keys, vectors, NONE))
        bytes_a_row[kind] = table.nbytes / len(table)
    # Of so few rows the last slab, 2 MB, is 20 bytes a row.
    beside = 70
    assert 384 < bytes_a_row["float32"] < 384 + beside
    assert 192 < bytes_a_row["bfloat16"] < 192 + beside
    assert 100 < bytes_a_row["int8"] < 100 + beside
    assert 96 < bytes_a_row["tanh8"] < 96 + beside


def test_no_kind_of_array_compiles_a_kernel_again() -> None:
    tables = [ReplicaTable(3, name="item", precision=kind) for kind in PRECISIONS]
    before = compiled()
    keys, vectors = np.arange(40)[::3], np.ones((28, 3), np.float32)[::2]
    keys.flags.writeable = vectors.flags.writeable = False
    for table in tables:
        table.apply_delta(Delta("item", 3, keys, vectors, keys[:0]))
        table.lookup(keys.view(np.uint64))
        table.lookup([])
        table.apply_delta(Delta("item", 3, keys[:0], vectors[:0], keys[2:5]))
        assert len(table) == 11
        table.check_invariants()
    assert compiled() == before > 5


def compiled() -> int:
    found = [*vars(row_kernels).values(), *vars(precision).values()]
    return sum(len(kernel.signatures) for kernel in found if hasattr(kernel, "signatures"))


def test_what_does_not_fit_is_refused_and_named() -> None:
    delta = Delta("a", 2, np.array([1]), np.zeros((1, 2), np.float32), NONE)
    with pytest.raises(ValueError, match="'a' with dim 2 does not fit table 'b' with dim 2"):
        ReplicaTable(2, name="b").apply_delta(delta)
    with pytest.raises(ValueError, match="does not fit"):
        ReplicaTable(3, name="a").pack(delta)
    with pytest.raises(ValueError, match="table 't': dim is 0"):
        ReplicaTable(0, name="t")
    with pytest.raises(ValueError, match="precision is 'int4'"):
        ReplicaTable(2, precision="int4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be int64 or uint64"):
        ReplicaTable(2).lookup(np.array([1.5]))
