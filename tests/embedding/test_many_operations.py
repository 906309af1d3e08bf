"""Ten million random operations on keys, each answer held against a plain table; see `dict_table`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.embedding import Delta, EmbeddingTable, ReplicaTable, after, probability
from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels import rows as row_kernels
from stream_reco.embedding.table import row_store
from tests.embedding.dict_table import DictTable, contents, unmixed

MIB = 1 << 20
OPERATIONS = 10_000_000
LOW, HIGH = -(1 << 63), (1 << 63) - 1
HASHES = 1 << 31
SIZES = [0, 1, 63, 64, 65, 1000, 4000, 5000]
Keys = NDArray[np.int64]
Stream = Callable[[np.random.Generator, int, int, int], Keys]
"""From random numbers, how many keys, how many came before, and the table's salt: the next keys."""

SENTINELS = np.array(
    [
        row_kernels.FREE,
        row_kernels.FREE + 1,
        row_store.NEVER,
        -row_store.NEVER,
        row_store.LAST_ROW,
        scalars.ROW_MASK,
        scalars.WHOLE - 1,
    ]
)


def uniform(rng: np.random.Generator, many: int, _: int, __: int) -> Keys:
    return rng.integers(LOW, HIGH, many, endpoint=True)


def zipf(rng: np.random.Generator, many: int, _: int, __: int) -> Keys:
    return rng.zipf(1.1, many)


def rising(_: np.random.Generator, many: int, before: int, __: int) -> Keys:
    return np.arange(before - 5000, before - 5000 + many)


def falling(_: np.random.Generator, many: int, before: int, __: int) -> Keys:
    return HIGH - np.arange(before, before + many)


def equal_low_bits(_: np.random.Generator, many: int, before: int, __: int) -> Keys:
    return np.arange(before, before + many) << 40 | 77


def equal_high_bits(rng: np.random.Generator, many: int, _: int, __: int) -> Keys:
    return LOW + rng.integers(0, 1 << 18, many)


def edges(rng: np.random.Generator, many: int, before: int, _: int) -> Keys:
    around = np.array([0, LOW, 1 << 32, -(1 << 32)])
    keys: Keys = rng.choice(around, many) + rng.integers(-(before // 8) - 1, before // 8 + 1, many)
    return keys


def one_hash(rng: np.random.Generator, many: int, before: int, salt: int) -> Keys:
    """Now and then twenty of the same 31 bits, the least or the greatest, or ones near the middle; hundreds in all."""
    keys = uniform(rng, many, before, salt)
    same = min(many, 20)
    hashed = rng.choice(np.array([0, HASHES // 2 + 1, HASHES - 1])) << 33 | rng.integers(0, 600, same)
    keys[:same] = unmixed(hashed.view(np.uint64), salt)
    return keys


def neighbouring_hashes(_: np.random.Generator, many: int, before: int, salt: int) -> Keys:
    """Hashes from the right end to the left, as growth goes, each three times, and round again."""
    places = np.arange(before, before + many)
    hashed = ((HASHES - 1 - places // 3 * 150_001) % HASHES) << 33 | places % 3
    return unmixed(hashed.view(np.uint64), salt)


def sentinels(rng: np.random.Generator, many: int, before: int, _: int) -> Keys:
    """Patterns that mean something inside: free rows and links to them, slots of the index, times and counts."""
    rows = rng.integers(-1, before + 2, many)
    inside = np.stack([rng.choice(SENTINELS, many), rows, rows << 32 | rows, before << 16 | rows, rows << 16 | 1])
    keys: Keys = inside[rng.integers(0, len(inside), many), np.arange(many)]
    return keys


def few(rng: np.random.Generator, many: int, _: int, __: int) -> Keys:
    """A small world, in which keys come and go: sketches of so few keys are exact."""
    return rng.integers(0, 1500, many) * 7919


CASES: list[tuple[Stream, dict[str, Any]]] = [
    (uniform, {"dim": 3, "optimizer": "sgd", "ttl_ms": 400}),
    (uniform, {"dim": 17, "optimizer": "adam", "ttl_ms": 200, "admission": probability(0.5)}),
    (zipf, {"dim": 17, "optimizer": "adagrad", "ttl_ms": 600}),
    (zipf, {"dim": 17, "optimizer": "adagrad", "ttl_ms": 300, "budget_bytes": 3 * MIB, "half_life_ms": 90}),
    (rising, {"dim": 1, "optimizer": "adagrad", "ttl_ms": 500}),
    (falling, {"dim": 3, "optimizer": "adam", "ttl_ms": 250}),
    (equal_low_bits, {"dim": 1, "optimizer": "sgd", "ttl_ms": 300}),
    (equal_high_bits, {"dim": 3, "optimizer": "adagrad", "admission": after(1), "ttl_ms": 400}),
    (edges, {"dim": 3, "optimizer": "sgd", "ttl_ms": 2000, "budget_bytes": 2 * MIB}),
    (one_hash, {"dim": 1, "optimizer": "adagrad", "ttl_ms": 400}),
    (neighbouring_hashes, {"dim": 3, "optimizer": "sgd", "ttl_ms": 300}),
    (sentinels, {"dim": 1, "optimizer": "sgd", "ttl_ms": 200}),
    (uniform, {"dim": 50, "optimizer": "sgd", "admission": after(1), "ttl_ms": 100, "budget_bytes": MIB}),
    (few, {"dim": 3, "optimizer": "adam", "admission": after(9, window=20_000), "ttl_ms": 60}),
]


class Run:
    """One table, its plain twin, and a replica that follows, through one stream of keys."""

    def __init__(self, stream: Stream, settings: dict[str, Any], seed: int, folder: Path) -> None:
        self.table = EmbeddingTable(name=stream.__name__, seed=seed, **settings)
        self.twin = DictTable(self.table)
        self.replica = ReplicaTable(self.table.dim, name=self.table.name)
        self.stream, self.path, self.rng = stream, folder / "t", np.random.default_rng(seed)
        self.now = self.came = 0
        self.recent = np.zeros(1, np.int64)
        self.rejected_gradients: list[Delta] = []
        self.amid_growth: set[str] = set()

    def keys(self) -> Keys:
        """New ones and ones that came lately, each perhaps more than once."""
        many = int(self.rng.choice(SIZES))
        fresh = self.stream(self.rng, many - many // 3, self.came, self.twin.salt)
        self.came += len(fresh)
        keys = np.concatenate([fresh, self.rng.choice(self.recent, many // 3)])
        self.recent = np.concatenate([self.recent, fresh])[-20_000:]
        return self.rng.permutation(keys)

    def grows(self) -> bool:
        """Whether the index has entries in both orders."""
        return bool(0 < self.table._store.head[scalars.FRONTIER] < scalars.WHOLE)

    def note(self, operation: str) -> None:
        if self.grows():
            self.amid_growth.add(operation)

    def train(self) -> None:
        self.now += int(self.rng.integers(0, 20))
        when = self.now - int(self.rng.choice([0, 0, 0, 300]))
        keys, before = self.keys(), self.table.keys()
        rows = self.table.train_rows(keys, when)
        left = before[self.table._store.find(before) < 0]
        self.twin.train(keys, when, rows, left)

    def step(self) -> None:
        keys = self.keys()
        grads = self.rng.normal(size=(len(keys), self.table.dim)).astype(np.float32)
        grads[self.rng.random(len(keys)) < 0.01] = self.rng.choice([np.nan, np.inf, 1e16])
        self.table.apply_gradients(keys, grads)
        self.twin.step(keys, grads)

    def look(self) -> None:
        keys, before = self.keys(), contents(self.table)
        np.testing.assert_array_equal(self.table.lookup(keys), self.twin.lookup(keys))
        assert contents(self.table) == before, "a lookup wrote"

    def evict(self) -> None:
        self.now += int(self.rng.integers(0, 30))
        limit = [None, 0, 1, 700, 100_000][int(self.rng.integers(5))]
        self.note("evict")
        self.twin.evict(self.now, limit, self.table.evict(self.now, limit))

    def drain(self) -> None:
        delta = self.table.drain_touched()
        self.twin.drain(delta)
        if self.rng.random() < 0.5:
            self.rejected_gradients.append(delta)
        elif not self.rejected_gradients:
            self.replica.apply_delta(delta)
            np.testing.assert_array_equal(np.sort(self.replica.keys()), np.sort(self.table.keys()))
            np.testing.assert_array_equal(self.replica.lookup(delta.keys), delta.vectors)
        else:
            self.rejected_gradients.append(delta)

    def restore(self) -> None:
        self.note("restore")
        for delta in self.rejected_gradients[::-1]:
            self.table.restore_touched(delta)
            self.twin.restore(delta)
        self.rejected_gradients = []

    def reload(self) -> None:
        self.note("save")
        self.table.save(self.path)
        self.table = EmbeddingTable.load(self.path, mapped=bool(self.rng.random() < 0.5))

    def check(self) -> None:
        self.twin.check(self.table)
        self.replica.check_invariants()


@pytest.mark.parametrize(("stream", "settings"), CASES, ids=[f"{i} {case[0].__name__}" for i, case in enumerate(CASES)])
def test_every_answer_is_that_of_a_dict(tmp_path: Path, stream: Stream, settings: dict[str, Any]) -> None:
    run = Run(stream, settings, CASES.index((stream, settings)), tmp_path)
    often = [run.train] * 8 + [run.step] * 4 + [run.look] * 2 + [run.evict, run.drain, run.restore]
    seldom = [run.reload, run.check]
    whatever = [run.evict, run.restore, run.reload]
    steps = 0
    while run.twin.operations < OPERATIONS / len(CASES):
        steps += 1
        often[int(run.rng.integers(len(often)))]()
        if run.grows() and run.rng.random() < 0.5:
            whatever[int(run.rng.integers(3))]()
        if steps % 12 == 0:
            seldom[int(run.rng.integers(len(seldom)))]()
    run.check()
    assert run.amid_growth == {"evict", "restore", "save"} or len(run.table) < 5000
    assert run.twin.rejected_gradients > 0
    assert (run.twin.evicted_for_budget > 0) == (run.table.budget_bytes is not None)
    assert (run.twin.denied_rows > 0) == (run.table._store.row_limit < max(SIZES))
