"""A table that may take so many bytes: it never takes more, and gives up what is worth least."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable, after
from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.table.eviction import values

DAY = 86_400_000
MIB = 1 << 20


def worth(table: EmbeddingTable, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[n]: last seen + half-life · log2(count) of each key's row."""
    return values(table._store, table._store.find(keys), table.half_life_ms)


def fill(table: EmbeddingTable, keys: NDArray[np.int64], batch: int = 500) -> None:
    for number, part in enumerate(np.array_split(keys, max(1, len(keys) // batch))):
        table.train_rows(part, number)
        table.drain_touched()
        assert table.budget_bytes is not None
        assert table.nbytes <= table.budget_bytes


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 3, 32, 100, 1000]),
    st.sampled_from(["sgd", "adagrad", "rowwise_adagrad", "adam"]),
    st.integers(2 * MIB, 12 * MIB),
    st.booleans(),
)
def test_no_budget_is_ever_exceeded(dim: int, optimizer: str, budget: int, admitted: bool) -> None:
    table = EmbeddingTable(dim, optimizer, after(1) if admitted else None, budget_bytes=budget)
    row = 4 * (dim + table.optimizer.state_size(dim))
    fill(table, np.random.default_rng(dim).permutation(max(3000, 3 * budget // (row + 20))))
    table.check_invariants()
    assert table.evicted_for_budget + table.denied_rows > 0
    assert len(table) > 1000 or row > 1000
    # What is lost is the next slab of each part, which would not have fitted any more: an eighth, at least a page.
    assert table.nbytes > 0.85 * budget - MIB


def test_a_large_budget_is_used_nearly_whole() -> None:
    table = EmbeddingTable(32, budget_bytes=64 * MIB)
    fill(table, np.arange(300_000) * 7919, 5000)
    assert table.nbytes > 0.94 * 64 * MIB
    assert len(table) > 0.9 * 64 * MIB / (256 + 31)
    assert table.evicted_for_budget == 300_000 - len(table)


def test_the_least_valuable_leave_a_small_table() -> None:
    table = EmbeddingTable(1000, "sgd", budget_bytes=MIB, half_life_ms=10)
    limit = table._store.row_limit
    assert limit <= 1024
    rng = np.random.default_rng(0)
    for now in range(400):
        batch = rng.zipf(1.2, 20) % (3 * limit)
        before = table.keys()
        worths = dict(zip(before.tolist(), worth(table, before).tolist(), strict=True))
        gone = set(before.tolist())
        rows = table.train_rows(batch, now)
        gone -= set(table.keys().tolist())
        assert not gone & set(batch.tolist())
        np.testing.assert_array_equal(table._store.keys_of(rows), batch)
        stayed = worths.keys() - gone - set(batch.tolist())
        if gone and stayed:
            assert max(worths[key] for key in gone) <= min(worths[key] for key in stayed)
        assert set(table.drain_touched().tombstones.tolist()) == gone
    assert table.evicted_for_budget > 1000


def test_in_a_large_table_the_least_tenth_is_where_rows_leave() -> None:
    table = EmbeddingTable(1, "sgd", budget_bytes=8 * MIB, half_life_ms=1000)
    rng = np.random.default_rng(1)
    now = 0
    while table.evicted_for_budget == 0:
        now += 10
        table.train_rows(rng.integers(0, 1 << 40, 4000), now)
        table.train_rows(rng.choice(table.keys(), 4000), now)
    assert len(table) > 100_000
    for _ in range(30):
        now += 10
        before = table.keys()
        worths = worth(table, before)
        table.train_rows(rng.integers(0, 1 << 40, 500), now)
        gone = np.isin(before, table.keys(), invert=True)
        assert 0 < gone.sum() <= 500
        assert worths[gone].max() <= np.quantile(worths, 0.1)


def test_what_is_used_outlives_a_flood_of_strangers() -> None:
    table = EmbeddingTable(8, budget_bytes=4 * MIB, half_life_ms=DAY)
    regulars = np.arange(2000)
    for now in range(0, 50_000, 1000):
        table.train_rows(regulars, now)
    before = table.lookup(regulars)
    for now in range(50_000, 80_000, 100):
        table.train_rows(np.arange(now * 100, now * 100 + 1000), now)
    assert table.evicted_for_budget > 200_000
    np.testing.assert_array_equal(table.lookup(regulars), before)


def test_a_key_that_comes_back_starts_afresh_and_is_no_tombstone() -> None:
    table = EmbeddingTable(1000, "sgd", budget_bytes=MIB, name="t")
    limit = table._store.row_limit
    fresh = EmbeddingTable(1000, "sgd", name="t")
    fresh.train_rows([7], 0)
    table.train_rows([7], 0)
    table.apply_gradients([7], np.ones((1, 1000), np.float32))
    table.train_rows(np.arange(100, 100 + limit), 1)
    assert not table.lookup([7]).any()
    table.train_rows([7], 2)
    np.testing.assert_array_equal(table.lookup([7]), fresh.lookup([7]))
    delta = table.drain_touched()
    assert 7 in delta.keys.tolist()
    assert 7 not in delta.tombstones.tolist()


def test_a_batch_of_more_keys_than_fit_leaves_its_last_strangers_without_a_row() -> None:
    table = EmbeddingTable(1000, "sgd", budget_bytes=MIB)
    limit = table._store.row_limit
    table.train_rows([5], 0)
    rows = table.train_rows(np.arange(2 * limit), 1)
    assert (rows[:limit] >= 0).all()
    assert (rows[limit:] == -1).all()
    assert len(np.unique(rows[:limit])) == limit == len(table)
    assert table.denied_rows == limit
    assert not table.lookup(np.arange(limit, 2 * limit)).any()
    table.check_invariants()
    assert (table.train_rows(np.arange(limit, 2 * limit), 2) >= 0).all()


def test_admission_and_budget_together() -> None:
    table = EmbeddingTable(1000, "sgd", after(2), budget_bytes=2 * MIB)
    limit = table._store.row_limit
    for start in range(0, 8 * limit, limit):
        keys = np.arange(start, start + limit)
        assert (table.train_rows(keys, start) == -1).all()
        assert (table.train_rows(keys[: limit // 2], start) >= 0).all()
        table.check_invariants()
    assert table.evicted_for_budget >= 3 * limit
    assert table.denied_rows == 0


def test_it_goes_on_bit_for_bit_after_loading(tmp_path: Path) -> None:
    table = EmbeddingTable(16, budget_bytes=2 * MIB, half_life_ms=50, name="t")
    rng = np.random.default_rng(3)
    for now in range(0, 3000, 50):
        table.train_rows(rng.zipf(1.1, 1000) % 50_000, now)
    assert table.evicted_for_budget > 0
    table.save(tmp_path / "t")
    loaded = EmbeddingTable.load(tmp_path / "t")
    for now in range(3000, 5000, 50):
        keys = rng.zipf(1.1, 1000) % 50_000
        np.testing.assert_array_equal(loaded.train_rows(keys, now), table.train_rows(keys, now))
    assert loaded.evicted_for_budget == table.evicted_for_budget
    assert loaded.drain_touched().tombstones.tolist() == table.drain_touched().tombstones.tolist()


@pytest.mark.parametrize("mapped", [False, True], ids=["copied", "mapped"])
@pytest.mark.parametrize(
    ("dim", "optimizer", "budget"),
    [(1, "adagrad", 18), (3, "sgd", 8), (17, "sgd", 39), (100, "sgd", 7), (500, "adam", 29)],
)
def test_a_loaded_table_grows_to_the_same_rows_and_not_beyond_its_budget(
    tmp_path: Path, dim: int, optimizer: str, budget: int, mapped: bool
) -> None:
    table = EmbeddingTable(dim, optimizer, budget_bytes=budget * MIB)
    limit = table._store.row_limit
    for part, size in ((0.13, limit // 7), (0.5, limit // 3), (0.97, limit)):
        table.train_rows(np.arange(int(part * limit)), 0)
        table.drain_touched()
        table.save(tmp_path / "t")
        loaded = EmbeddingTable.load(tmp_path / "t", mapped=mapped)
        assert loaded.nbytes <= table.nbytes
        loaded.train_rows(np.arange(-size, 0), 1)
        loaded.train_rows(np.arange(limit, 2 * limit), 2)
        loaded.drain_touched()
        assert len(loaded) == limit
        assert loaded.nbytes <= budget * MIB


@pytest.mark.parametrize(
    ("dim", "budget", "first"), [(5, 2_228_224, 31_949), (32, 3_801_088, 17_565), (50, 5_373_952, 17_565)]
)
def test_an_index_that_grows_at_the_last_rows_asks_for_no_row_more(dim: int, budget: int, first: int) -> None:
    """Budgets and first batches with which lines are lacking just when rows had made way."""
    table = EmbeddingTable(dim, "sgd", budget_bytes=budget, name="t")
    limit = table._store.row_limit
    table.train_rows(np.arange(first), 0)
    while len(table) < limit:
        table.train_rows(np.arange(len(table), min(limit, len(table) + 500)), 1)
    for strangers in (np.arange(-64, 0), np.arange(-3000, -100)):
        table.train_rows(strangers, 2)
        table.drain_touched()
        assert len(table) == table._store.head[scalars.ROW_CAPACITY] == limit
        assert table.nbytes <= budget


def test_a_loaded_index_that_ends_with_its_memory_grows_no_sooner(tmp_path: Path) -> None:
    table = EmbeddingTable(1, "sgd", budget_bytes=1_745_248, name="t")
    table.train_rows(np.arange(41_254), 0)
    table.drain_touched()
    table.save(tmp_path / "t")
    loaded = EmbeddingTable.load(tmp_path / "t")
    for one in (table, loaded):
        for start in range(-(one._store.row_limit - 41_254), 0, 500):
            one.train_rows(np.arange(start, min(0, start + 500)), 1)
        one.drain_touched()
    lines = [int(one._store.head[scalars.NEW_LINES]) for one in (table, loaded)]
    assert lines[0] == lines[1]
    assert loaded.nbytes <= table.nbytes <= 1_745_248


def test_admission_gives_up_few_rows_of_a_small_table_at_once() -> None:
    table = EmbeddingTable(1000, "sgd", after(2), budget_bytes=MIB)
    limit = table._store.row_limit
    table.train_rows(np.repeat(np.arange(limit), 2), 0)
    assert len(table) == limit < 400
    assert table.train_rows([-5], 1).tolist() == [-1]
    assert len(table) >= limit - limit // 16
    table.check_invariants()


@pytest.mark.parametrize("budget", [-1, 0, 1000, 100_000])
def test_a_budget_for_no_row_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match=f"table 'x': budget_bytes is {budget}, less than its first .* give it"):
        EmbeddingTable(32, name="x", budget_bytes=budget)


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="half_life_ms is 0"):
        EmbeddingTable(32, budget_bytes=MIB, half_life_ms=0)


KEYS = st.lists(st.integers(0, 300) | st.sampled_from([-(1 << 63), (1 << 63) - 1]), max_size=120)


class CrowdedMachine(RuleBasedStateMachine):
    """Few rows, many keys: TTL and budget take turns, and a replica follows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = EmbeddingTable(1000, "sgd", ttl_ms=40, name="t", budget_bytes=700_000, half_life_ms=10)
        self.limit = self.table._store.row_limit
        self.known: dict[int, tuple[int, int]] = {}
        self.now = 0
        self.published: set[int] = set()

    @rule(keys=KEYS, passed=st.integers(0, 15))
    def train(self, keys: list[int], passed: int) -> None:
        self.now += passed
        rows = self.table.train_rows(keys, self.now)
        have = set(self.table.keys().tolist())
        given = {key: row for key, row in zip(keys, rows.tolist(), strict=True) if row >= 0}
        assert len(set(given.values())) == len(given)
        assert set(given) <= have
        assert set(keys) <= have or len(have) == self.limit
        for key in set(self.known) - have:
            assert len(set(keys) | set(self.known)) > self.limit
            del self.known[key]
        for key in given:
            count = self.known.get(key, (0, 0))[1]
            self.known[key] = (self.now, count + keys.count(key))
        assert set(self.known) == have

    @rule(passed=st.integers(0, 60), limit=st.none() | st.integers(0, 9))
    def evict(self, passed: int, limit: int | None) -> None:
        self.now += passed
        due = {key for key, (seen, _) in self.known.items() if self.now - seen > 40}
        gone = self.table.evict(self.now, limit).tolist()
        assert len(gone) == (len(due) if limit is None else min(limit, len(due)))
        assert set(gone) <= due
        for key in gone:
            del self.known[key]

    @rule()
    def drain(self) -> None:
        delta = self.table.drain_touched()
        self.published = (self.published - set(delta.tombstones.tolist())) | set(delta.keys.tolist())
        assert self.published == set(self.known)

    @invariant()
    def sound(self) -> None:
        self.table.check_invariants()
        assert len(self.table) == len(self.known) <= self.limit
        rows = np.array(list(self.known.values()), np.float64).reshape(-1, 2)
        expected = rows[:, 0] + 10 * np.log2(rows[:, 1])
        np.testing.assert_allclose(worth(self.table, np.array(list(self.known), np.int64)), expected)


TestCrowded = CrowdedMachine.TestCase
TestCrowded.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
