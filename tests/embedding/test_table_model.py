"""Random operations against a plain dict that does the same, invariants checked on the way."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from stream_reco.embedding import SGD, Delta, EmbeddingTable, ReplicaTable
from stream_reco.embedding.kernels import index as scalars
from tests.embedding.dict_table import DictTable, contents, unmixed

DIM = 3
TTL = 50
LOW, HIGH = -(1 << 63), (1 << 63) - 1
KEY = st.one_of(
    st.integers(0, 40),
    st.sampled_from([0, -1, 1, LOW, HIGH, LOW + 1, HIGH - 1]),
    st.integers(0, 30).map(lambda i: i << 40),
    st.integers(LOW, HIGH),
)
KEYS = st.lists(KEY, min_size=0, max_size=60)
NONE = np.empty(0, np.int64)


class TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = EmbeddingTable(DIM, SGD(lr=0.5), ttl_ms=TTL, name="model", seed=3)
        self.twin = DictTable(self.table)
        self.replica = ReplicaTable(DIM, name="model")
        self.now = 0

    @rule(keys=KEYS, passed=st.integers(-20, 30))
    def train(self, keys: list[int], passed: int) -> None:
        self.now += passed
        rows = self.table.train_rows(keys, self.now)
        self.twin.train(np.array(keys, np.int64), self.now, rows, NONE)

    @rule(keys=KEYS, scale=st.floats(-2, 2, width=32))
    def step(self, keys: list[int], scale: float) -> None:
        grads = np.outer(np.arange(len(keys)), [1, -1, 0.5]).astype(np.float32) * np.float32(scale)
        self.table.apply_gradients(keys, grads)
        self.twin.step(np.array(keys, np.int64), grads)

    @rule(passed=st.integers(0, 80), limit=st.none() | st.integers(0, 5))
    def evict(self, passed: int, limit: int | None) -> None:
        self.now += passed
        self.twin.evict(self.now, limit, self.table.evict(self.now, limit))

    @rule(accepted=st.booleans())
    def drain(self, accepted: bool) -> None:
        delta = self.table.drain_touched()
        assert self.table.touched == 0
        self.twin.drain(delta)
        if not accepted:
            self.table.restore_touched(delta)
            self.twin.restore(delta)
            return
        self.replica.apply_delta(delta)
        np.testing.assert_array_equal(np.sort(self.replica.keys()), np.sort(self.table.keys()))
        keys = self.table.keys()
        np.testing.assert_array_equal(self.replica.lookup(keys), self.twin.lookup(keys))
        self.replica.check_invariants()

    @rule(mapped=st.booleans())
    def reload(self, mapped: bool) -> None:
        with TemporaryDirectory() as folder:
            self.table.save(Path(folder) / "table")
            self.table = EmbeddingTable.load(Path(folder) / "table", dim=DIM, mapped=mapped)

    @rule(keys=KEYS)
    def look(self, keys: list[int]) -> None:
        before = contents(self.table)
        np.testing.assert_array_equal(self.table.lookup(keys), self.twin.lookup(np.array(keys, np.int64)))
        assert contents(self.table) == before

    @rule()
    def whole(self) -> None:
        snapshot = self.table.snapshot()
        np.testing.assert_array_equal(snapshot.keys, self.table.keys())
        np.testing.assert_array_equal(snapshot.vectors, self.twin.lookup(snapshot.keys))

    @invariant()
    def sound(self) -> None:
        self.twin.check(self.table)


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def random_keys(kind: str, n: int) -> NDArray[np.int64]:
    if kind == "low bits":
        return np.arange(n, dtype=np.int64) << 32
    if kind == "sorted":
        return np.arange(n, dtype=np.int64) - n // 2
    if kind == "extremes":
        return np.concatenate([LOW + np.arange(n // 2), HIGH - np.arange(n - n // 2)]).astype(np.int64)
    return np.random.default_rng(1).integers(LOW, HIGH, n)


@pytest.mark.parametrize("kind", ["low bits", "sorted", "extremes", "random"])
def test_many_keys_through_growth_and_eviction(kind: str) -> None:
    n = 60_000
    keys = np.unique(random_keys(kind, n))
    table = EmbeddingTable(2, "sgd", ttl_ms=10, name=kind)
    rows = np.concatenate([table.train_rows(part, 0) for part in np.array_split(keys, 23)])
    assert np.array_equal(np.sort(rows), np.arange(len(keys)))
    table.check_invariants()
    kept = keys[::3]
    table.train_rows(kept, 11)
    evicted = table.evict(21)
    assert len(evicted) == len(keys) - len(kept)
    table.check_invariants()
    assert np.array_equal(np.sort(table.keys()), np.sort(kept))
    assert not table.lookup(evicted).any()
    again = table.train_rows(keys, 22)
    assert np.array_equal(np.sort(again), np.arange(len(keys)))
    assert np.array_equal(again[::3], rows[::3])
    table.check_invariants()


def keys_of_hash(hashed: int, many: int, salt: int) -> NDArray[np.int64]:
    """Keys that the index tells apart only by looking at them."""
    return unmixed(np.uint64(hashed << 33) | np.arange(many, dtype=np.uint64), salt)


def test_an_index_survives_keys_of_one_hash() -> None:
    # The hash is a bijection, so keys whose hashes share all the bits that the index uses can be found backwards.
    table = EmbeddingTable(1, "sgd", name="adversary")
    salt = int(table._store.layout[3])
    for top in (0, 1, (1 << 31) - 1):
        keys = keys_of_hash(top, 1500, salt)
        rows = table.train_rows(keys, 0)
        assert len(np.unique(rows)) == len(keys)
        table.check_invariants()
    table.train_rows(np.arange(20_000), 0)
    table.check_invariants()
    assert len(table) == 24_500


def test_thousands_of_keys_of_the_greatest_hash_move_to_the_end_and_no_further() -> None:
    table = EmbeddingTable(1, "sgd", name="adversary")
    salt, head = int(table._store.layout[3]), table._store.head
    ordinary = (np.arange(start, start + 100) for start in range(0, 1 << 20, 100))
    while head[scalars.NEW_LINES] < 10_000 or head[scalars.FRONTIER]:
        table.train_rows(next(ordinary), 0)
    # The new index would end a few lines before its memory does, and these overflow it by hundreds of lines.
    hostile = keys_of_hash((1 << 31) - 1, 2560, salt)
    table.train_rows(hostile, 0)
    while not 0 < head[scalars.FRONTIER] < scalars.WHOLE:
        table.train_rows(next(ordinary), 0)
    table.check_invariants()
    assert len(np.unique(table.train_rows(hostile, 0))) == len(hostile)


@pytest.mark.parametrize("hashed", [0, 1, (1 << 31) - 1])
def test_few_keys_of_the_least_and_the_greatest_hash_are_found_again(hashed: int) -> None:
    table = EmbeddingTable(1, "sgd", name="edge")
    salt = int(table._store.layout[3])
    for i, key in enumerate(keys_of_hash(hashed, 9, salt)):
        assert table.train_rows([key], 0).tolist() == [i]
        assert table.train_rows([key], 0).tolist() == [i]
        table.check_invariants()
    assert len(table) == 9


def test_deltas_in_sequence_rebuild_the_table() -> None:
    rng = np.random.default_rng(5)
    table = EmbeddingTable(4, "adam", ttl_ms=300, name="t")
    replica = ReplicaTable(4, name="t")
    late: list[Delta] = [table.snapshot()]
    for now in range(0, 3000, 10):
        keys = rng.zipf(1.3, 200) % 5000
        table.train_rows(keys, now)
        table.apply_gradients(keys, rng.normal(size=(200, 4)).astype(np.float32))
        table.evict(now, limit=20)
        if now % 30 == 0:
            late.append(table.drain_touched())
    late.append(table.drain_touched())
    for delta in late:
        replica.apply_delta(delta)
    assert len(replica) == len(table) > 100
    np.testing.assert_array_equal(replica.lookup(table.keys()), table.lookup(table.keys()))
    replica.check_invariants()
