"""Clear errors, times, starts: what the table promises at its edges."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.embedding import Delta, EmbeddingTable, ReplicaTable, after
from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels import optimizer_step
from stream_reco.embedding.kernels import rows as row_kernels
from tests.embedding.dict_table import contents


def test_new_rows_are_a_function_of_seed_name_and_key() -> None:
    keys = np.array([3, -1, 1 << 60, 0])
    one, two = EmbeddingTable(8, name="a", seed=1), EmbeddingTable(8, "adam", name="a", seed=1)
    one.train_rows(keys, 0)
    two.train_rows(keys[::-1], 99)
    np.testing.assert_array_equal(one.lookup(keys), two.lookup(keys))
    for other in (EmbeddingTable(8, name="b", seed=1), EmbeddingTable(8, name="a", seed=2)):
        other.train_rows(keys, 0)
        assert (other.lookup(keys) != one.lookup(keys)).mean() > 0.9


def test_new_rows_are_uniform_within_the_scale() -> None:
    table = EmbeddingTable(16, "sgd", init_scale=0.5)
    table.train_rows(np.arange(20_000), 0)
    values = table.lookup(np.arange(20_000))
    assert np.abs(values).max() <= 0.5
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(values.var(axis=0), 0.25 / 3, rtol=0.03)
    assert len(np.unique(values[:, 0])) > 19_000
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.03


@pytest.mark.parametrize("optimizer", ["sgd", "ftrl", "adam"])
def test_a_row_that_is_used_again_starts_from_the_same_bits(optimizer: str) -> None:
    scale = 0.0 if optimizer == "adam" else 0.05
    table, fresh = (EmbeddingTable(16, optimizer, ttl_ms=5, init_scale=scale) for _ in range(2))
    for now in (0, 100):
        table.train_rows([7], now)
        table.apply_gradients([7], np.ones((1, 16), np.float32))
        assert table.evict(now + 50).tolist() == [7]
    for one in (table, fresh):
        one.train_rows([7], 200)
    assert table.lookup([7]).tobytes() == fresh.lookup([7]).tobytes()


def test_unsigned_keys_are_the_same_bits() -> None:
    table = EmbeddingTable(2)
    rows = table.train_rows(np.array([2**64 - 1, 2**63], np.uint64), 0)
    assert table.train_rows([-1, -(2**63)], 0).tolist() == rows.tolist()
    assert sorted(table.keys().tolist()) == [-(2**63), -1]


def test_no_kind_of_array_compiles_a_kernel_again(tmp_path: Path) -> None:
    table = EmbeddingTable(2, "adam", after(1), 5)
    keys, grads = np.arange(4), np.ones((4, 2), np.float32)
    replica = ReplicaTable(2)
    before = compiled()
    keys.flags.writeable = grads.flags.writeable = False
    table.train_rows(keys, 0)
    table.apply_gradients(keys[::-1], grads[::-1])
    delta = table.drain_touched()
    delta.keys.flags.writeable = delta.vectors.flags.writeable = delta.tombstones.flags.writeable = False
    table.restore_touched(delta)
    replica.apply_delta(delta)
    table.save(tmp_path / "t")
    for mapped in (False, True):
        loaded = EmbeddingTable.load(tmp_path / "t", mapped=mapped)
        loaded.lookup(keys.view(np.uint64))
        loaded.evict(20, limit=1)
    assert compiled() == before > 5


def compiled() -> int:
    kernels_of_both = [*vars(row_kernels).values(), *vars(optimizer_step).values()]
    return sum(len(kernel.signatures) for kernel in kernels_of_both if hasattr(kernel, "signatures"))


def test_readers_in_threads_beside_each_other_see_the_same() -> None:
    rng = np.random.default_rng(0)
    table = EmbeddingTable(8, "sgd", name="t")
    replica = ReplicaTable(8, name="t", precision="int8")
    # Little by little: a large batch lets the index grow at once to what it needs.
    while len(table) < 100_000 or not 0 < table._store.head[scalars.FRONTIER] < scalars.WHOLE // 2:
        table.train_rows(rng.integers(0, 1 << 62, 1_000), 0)
        replica.apply_delta(table.drain_touched())
    known = table.keys()
    for head in (table._store.head, replica._store.head):
        assert 0 < head[scalars.FRONTIER] < scalars.WHOLE, "the growth of the index is to be halfway"
    batches = [np.concatenate([rng.choice(known, 3000), rng.integers(0, 1 << 62, 1000)]) for _ in range(40)]
    before = contents(table)

    def read(keys: NDArray[np.int64]) -> tuple[bytes, bytes]:
        return table.lookup(keys).tobytes(), replica.lookup(keys).tobytes()

    alone = [read(keys) for keys in batches]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, batches * 3)) == alone * 3
    assert contents(table) == before
    table.check_invariants()


def test_threads_may_share_a_table() -> None:
    table, known = EmbeddingTable(4, "sgd", ttl_ms=10), np.arange(5000)
    table.train_rows(known, 1 << 40)

    def write(first: int) -> None:
        for at in range(first, first + 300_000, 3000):
            keys = np.arange(at, at + 3000)
            assert (table.train_rows(keys, at) >= 0).all()
            table.apply_gradients(keys[:100], np.zeros((100, 4), np.float32))
            table.evict(at, 1000)

    def read(_: int) -> None:
        for _ in range(200):
            assert table.lookup(known).any(axis=1).all(), "a key that has a row was not found"

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, 1_000_000 * i) for i in (1, 2)] + [pool.submit(read, i) for i in range(2)]
        for each in done:
            each.result()
    table.check_invariants()


def test_ten_million_keys_are_looked_up_at_once() -> None:
    table = EmbeddingTable(1, "sgd")
    table.train_rows(np.arange(100), 0)
    keys = np.random.default_rng(0).integers(0, 200, 10_000_000)
    keys.flags.writeable = False
    vectors = table.lookup(keys)
    expected = np.concatenate([table.lookup(np.arange(100)), np.zeros((100, 1), np.float32)])
    assert (vectors[:, 0] == expected[keys, 0]).all()


def test_strided_keys_and_gradients_are_read_right() -> None:
    table, same = EmbeddingTable(2, "sgd"), EmbeddingTable(2, "sgd")
    keys, grads = np.arange(10)[::3], np.arange(16, dtype=np.float32).reshape(2, 8).T[::2]
    for each, k, g in ((table, keys, grads), (same, keys.copy(), np.ascontiguousarray(grads))):
        each.train_rows(k, 0)
        each.apply_gradients(k, g)
    np.testing.assert_array_equal(table.lookup(keys), same.lookup(keys))


def test_eviction_is_strict_and_a_late_batch_does_not_age_a_row() -> None:
    table = EmbeddingTable(1, ttl_ms=10)
    table.train_rows([1, 2], 100)
    table.train_rows([1], 50)
    assert table.evict(110).tolist() == []
    table.train_rows([2], 105)
    assert table.evict(111).tolist() == [1]
    assert table.evict(116).tolist() == [2]
    assert table.drain_touched().tombstones.tolist() == [1, 2]


@pytest.mark.parametrize("seen", [-(1 << 46) + 1, -1, 0, 1, (1 << 46) - 1])
def test_no_time_is_too_far_to_evict_at(seen: int) -> None:
    table = EmbeddingTable(1, ttl_ms=10)
    table.train_rows([1], seen)
    for before in (-(1 << 63) - 1, -(1 << 63), -(1 << 62), seen - 5, seen + 10):
        assert table.evict(before).tolist() == []
    assert table.lookup([1]).any()
    for later in (1 << 64, (1 << 63) - 1, 1 << 62, seen + 11):
        assert table.evict(later).tolist() == [1]
        table.train_rows([1], seen)


def test_a_count_ends_where_it_must_and_leaves_the_time_alone() -> None:
    table = EmbeddingTable(1, ttl_ms=10)
    for many, count in ((65_534, 65_534), (1, 65_535), (1, 65_535), (70_000, 65_535)):
        table.train_rows(np.zeros(many, np.int64), 5)
        assert table._store.words_of(np.zeros(1, np.int64)).tolist() == [5 << 16 | count]
    assert table.evict(15).tolist() == []
    assert table.evict(16).tolist() == [0]


def test_with_a_limit_eviction_goes_round_the_table() -> None:
    table = EmbeddingTable(1, ttl_ms=10)
    table.train_rows(np.arange(30), 0)
    assert table.evict(11, limit=10).tolist() == list(range(10))
    # They get the rows that were freed, and are due at once.
    table.train_rows(np.arange(100, 110), -20)
    assert table.evict(11, limit=15).tolist() == list(range(10, 25))
    assert sorted(table.evict(11, limit=15).tolist()) == [*range(25, 30), *range(100, 110)]


def test_lookup_and_gradients_do_not_keep_a_row_alive() -> None:
    table = EmbeddingTable(1, ttl_ms=10)
    table.train_rows([1], 0)
    table.lookup([1])
    table.apply_gradients([1], np.ones((1, 1), np.float32))
    assert table.evict(1 << 62).tolist() == [1]


def test_a_key_that_came_back_is_no_tombstone_and_starts_afresh() -> None:
    table = EmbeddingTable(2, "adagrad", ttl_ms=10)
    table.train_rows([1], 0)
    start = table.lookup([1])
    table.apply_gradients([1], np.ones((1, 2), np.float32))
    table.evict(20)
    table.train_rows([1], 21)
    np.testing.assert_array_equal(table.lookup([1]), start)
    delta = table.drain_touched()
    assert (delta.keys.tolist(), delta.tombstones.tolist()) == ([1], [])


def test_empty_batches_are_nothing() -> None:
    table = EmbeddingTable(3, ttl_ms=1)
    assert table.lookup([]).shape == (0, 3)
    assert table.train_rows([], 0).shape == (0,)
    table.apply_gradients([], np.zeros((0, 3), np.float32))
    assert table.evict(10).shape == (0,)
    assert len(table.drain_touched()) == len(table.keys()) == len(table.snapshot()) == 0
    assert EmbeddingTable(3).evict(1 << 60).shape == (0,)


def test_memory_is_counted_and_bounded() -> None:
    table = EmbeddingTable(32, "adagrad")
    assert table.nbytes < 600_000
    table.train_rows(np.arange(400_000), 0)
    assert 256 < table.nbytes / len(table) < 256 + 60


@pytest.mark.parametrize("distinct", [1, 1_000, 60_000, 300_000])
def test_a_large_batch_takes_no_more_memory_than_its_rows_ask_for(distinct: int) -> None:
    keys = np.random.default_rng(0).integers(0, distinct, 300_000)
    at_once, bit_by_bit = EmbeddingTable(32, "adagrad"), EmbeddingTable(32, "adagrad")
    at_once.train_rows(keys, 0)
    for part in np.array_split(keys, 300):
        bit_by_bit.train_rows(part, 0)
    assert (np.sort(at_once.keys()) == np.sort(bit_by_bit.keys())).all()
    at_once.check_invariants()
    # The index is as long as the batch would have it, rows are at most twice as many as there are.
    assert at_once.nbytes < 2.3 * bit_by_bit.nbytes + 15 * len(keys)


def test_without_memory_the_table_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    table = EmbeddingTable(8, "sgd")
    table.train_rows(np.arange(1000), 0)

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "zeros", no_memory)
    with pytest.raises(MemoryError, match="evict rows"):
        table.train_rows(np.arange(100_000), 0)
    monkeypatch.undo()
    table.check_invariants()
    assert 1000 < len(table) < 100_000
    assert len(np.unique(table.train_rows(np.arange(100_000), 0))) == 100_000
    table.check_invariants()


@pytest.mark.parametrize("keys", [np.array([1.5]), np.array([1], np.int32), ["a"], np.array([True])])
def test_keys_of_another_type_are_named(keys: NDArray[np.int64]) -> None:
    with pytest.raises(TypeError, match="must be int64 or uint64"):
        EmbeddingTable(2, name="t").lookup(keys)


def test_shapes_are_named() -> None:
    table = EmbeddingTable(2, name="t")
    table.train_rows([1, 2], 0)
    with pytest.raises(ValueError, match=r"keys have shape \(1, 2\)"):
        table.lookup(np.zeros((1, 2), np.int64))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), must be \(2, 2\)"):
        table.apply_gradients([1, 2], np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match="float64, must be a float32"):
        table.apply_gradients([1], np.zeros((1, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"dim": 2, "ttl_ms": -1}, "ttl_ms is -1"),
        ({"dim": 2, "init_scale": -1}, "init_scale"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        EmbeddingTable(**settings)  # type: ignore[arg-type]


def test_times_and_limits_are_checked() -> None:
    table = EmbeddingTable(2, ttl_ms=5)
    with pytest.raises(ValueError, match="milliseconds since the epoch"):
        table.train_rows([1], 1 << 60)
    with pytest.raises(ValueError, match="limit is -1"):
        table.evict(0, -1)
    for act in (lambda now: table.train_rows([1], now), table.evict):
        for now in (1.0, math.nan, "1", None):
            with pytest.raises(TypeError, match=f"now is {now!r}, must be a whole number of milliseconds"):
                act(now)  # type: ignore[arg-type]
    before = compiled()
    assert table.train_rows([1], np.int32(3)).tolist() == [0]  # type: ignore[arg-type]
    assert table.evict(np.uint64(9)).tolist() == [1]  # type: ignore[arg-type]
    assert compiled() == before


def test_a_delta_of_another_table_is_refused() -> None:
    keys, none = np.array([1]), np.empty(0, np.int64)
    delta = Delta("a", 2, keys, np.zeros((1, 2), np.float32), none)
    with pytest.raises(ValueError, match="'a' with dim 2 does not fit table 'b' with dim 2"):
        EmbeddingTable(2, name="b").restore_touched(delta)
    with pytest.raises(ValueError, match="does not fit"):
        EmbeddingTable(3, name="a").restore_touched(delta)
    with pytest.raises(ValueError, match="shapes are"):
        Delta("a", 3, keys, np.zeros((1, 2), np.float32), none)
    with pytest.raises(TypeError, match="dtypes are"):
        Delta("a", 2, keys, np.zeros((1, 2)), none)  # type: ignore[arg-type]


def test_rows_never_move() -> None:
    table = EmbeddingTable(4, "sgd")
    first = table.train_rows(np.arange(100), 0)
    place = table._store.data.addresses[0]
    vectors = table.lookup(np.arange(100))
    for part in np.array_split(np.arange(100, 200_000), 40):
        table.train_rows(part, 0)
    assert table._store.data.addresses[0] == place
    assert table.train_rows(np.arange(100), 0).tolist() == first.tolist()
    np.testing.assert_array_equal(table.lookup(np.arange(100)), vectors)


def test_rows_seen_in_a_future_that_did_not_come_were_seen_now(tmp_path: Path) -> None:
    table = EmbeddingTable(2, ttl_ms=50)
    table.train_rows([1, 2], 100)
    table.train_rows([2, 3, 3], 9_000)
    vectors = table.lookup([1, 2, 3])
    assert table.turn_back(120) == 2
    assert table.turn_back(120) == 0
    table.check_invariants()
    np.testing.assert_array_equal(table.lookup([1, 2, 3]), vectors)
    table.save(tmp_path / "t.safetensors")
    for one in (table, EmbeddingTable.load(tmp_path / "t.safetensors")):
        assert one.evict(151).tolist() == [1]
        assert one.evict(170).tolist() == []
        assert one.evict(171).tolist() == [2, 3]
    with pytest.raises(ValueError, match="milliseconds"):
        table.turn_back(1 << 60)
