"""Random operations against a plain dict that does the same, invariants checked on the way."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from stream_reco.embedding import SGD, Delta, EmbeddingTable, ReplicaTable
from stream_reco.embedding import index as scalars
from tests.embedding.dict_table import unmixed

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


def fresh() -> EmbeddingTable:
    return EmbeddingTable(DIM, SGD(lr=0.5), ttl_ms=TTL, name="model", seed=3)


def rows_and_index(table: EmbeddingTable) -> list[bytes]:
    return [piece.tobytes() for section in table._store.sections() for piece in section.pieces]


class TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = fresh()
        self.origin = fresh()
        self.replica = ReplicaTable(DIM, name="model")
        self.vectors: dict[int, NDArray[np.float32]] = {}
        self.seen: dict[int, int] = {}
        self.rows: dict[int, int] = {}
        self.touched: set[int] = set()
        self.gone: set[int] = set()
        self.now = 0

    def _start(self, key: int) -> NDArray[np.float32]:
        self.origin.train_rows([key], 0)
        start: NDArray[np.float32] = self.origin.lookup([key])[0]
        return start

    @rule(keys=KEYS, passed=st.integers(0, 30))
    def train(self, keys: list[int], passed: int) -> None:
        self.now += passed
        rows = self.table.train_rows(keys, self.now)
        for key, row in zip(keys, rows.tolist(), strict=True):
            if key not in self.vectors:
                self.vectors[key] = self._start(key)
                assert row not in self.rows.values()
                self.rows[key] = row
                self.touched.add(key)
            assert self.rows[key] == row
            self.seen[key] = self.now

    @rule(keys=KEYS, scale=st.floats(-2, 2, width=32))
    def step(self, keys: list[int], scale: float) -> None:
        grads = np.outer(np.arange(len(keys)), [1, -1, 0.5]).astype(np.float32) * np.float32(scale)
        self.table.apply_gradients(keys, grads)
        sums: dict[int, NDArray[np.float32]] = {}
        for key, grad in zip(keys, grads, strict=True):
            sums[key] = sums.get(key, np.zeros(DIM, np.float32)) + grad
        for key, total in sums.items():
            if key in self.vectors:
                self.vectors[key] = self.vectors[key] - np.float32(0.5) * total
                self.touched.add(key)

    @rule(passed=st.integers(0, 80), limit=st.none() | st.integers(0, 5))
    def evict(self, passed: int, limit: int | None) -> None:
        self.now += passed
        due = {key for key, seen in self.seen.items() if self.now - seen > TTL}
        keys = self.table.evict(self.now, limit).tolist()
        assert len(keys) == len(set(keys)) == (len(due) if limit is None else min(limit, len(due)))
        assert set(keys) <= due
        for key in keys:
            del self.vectors[key], self.seen[key], self.rows[key]
            self.touched.discard(key)
            self.gone.add(key)

    @rule(accepted=st.booleans())
    def drain(self, accepted: bool) -> None:
        delta = self.table.drain_touched()
        assert self.table.touched == 0
        assert set(delta.keys.tolist()) == self.touched
        assert sorted(delta.tombstones.tolist()) == sorted(self.gone - self.vectors.keys())
        if not accepted:
            self.table.restore_touched(delta)
            return
        self.replica.apply_delta(delta)
        self.touched, self.gone = set(), set()
        np.testing.assert_array_equal(np.sort(self.replica.keys()), np.sort(self.table.keys()))
        keys = list(self.vectors)
        np.testing.assert_array_equal(self.replica.lookup(keys), self.table.lookup(keys))
        self.replica.check_invariants()

    @rule(mapped=st.booleans())
    def reload(self, mapped: bool) -> None:
        with TemporaryDirectory() as folder:
            self.table.save(Path(folder) / "table")
            self.table = EmbeddingTable.load(Path(folder) / "table", dim=DIM, mapped=mapped)

    @rule(keys=KEYS)
    def look(self, keys: list[int]) -> None:
        before = rows_and_index(self.table)
        want = np.array([self.vectors.get(key, np.zeros(DIM, np.float32)) for key in keys], np.float32)
        np.testing.assert_allclose(self.table.lookup(keys), want.reshape(-1, DIM), rtol=0, atol=1e-4)
        assert rows_and_index(self.table) == before

    @precondition(lambda self: len(self.vectors) > 0)
    @rule()
    def whole(self) -> None:
        snapshot = self.table.snapshot()
        assert set(snapshot.keys.tolist()) == set(self.vectors)
        np.testing.assert_array_equal(snapshot.vectors, self.table.lookup(snapshot.keys))

    @invariant()
    def sound(self) -> None:
        self.table.check_invariants()
        assert len(self.table) == len(self.vectors)
        assert self.table.touched == len(self.touched)
        assert dict(zip(self.table.keys().tolist(), sorted(self.rows.values()), strict=True)) == self.rows


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
