"""The plain table that the real one is held against: a dict from key to row, and NumPy arrays by row.

It is told each operation with what the real table answered, and raises AssertionError where that cannot be. Nothing of
the real table is used but the vectors with which fresh tables begin.
"""

from collections import Counter
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream_reco.embedding import SGD, Adagrad, Adam, After, Delta, EmbeddingTable, Optimizer, Probability

Keys = NDArray[np.int64]
Vectors = NDArray[np.float32]
MOST = 65_535
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def contents(table: EmbeddingTable) -> int:
    """A checksum of all that the real table has."""
    digest = xxhash.xxh3_64()
    for section in table._store.sections():
        for piece in section.pieces:
            digest.update(piece.data)
    beside: list[NDArray[Any]] = [table._sketch, table._default, *table._tombstones, table._store.bounds]
    for array in beside:
        digest.update(array.tobytes())
    return digest.intdigest()


def mixed(keys: Keys, salt: int) -> NDArray[np.uint64]:
    """The finalizer of splitmix64, over whole arrays."""
    h = keys.view(np.uint64) ^ np.uint64(salt & MASK)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def mixed_one(key: int, salt: int) -> int:
    """The same of one number."""
    h = (key ^ salt) & MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 31)


def unmixed(hashes: NDArray[np.uint64], salt: int) -> Keys:
    """The keys whose mixed hashes are given: each step of the finalizer undone, last first."""

    def unshifted(value: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
        result = value
        for _ in range(64 // bits + 1):
            result = value ^ (result >> np.uint64(bits))
        return result

    h = unshifted(hashes, 31) * np.uint64(pow(0x94D049BB133111EB, -1, 1 << 64))
    h = unshifted(h, 27) * np.uint64(pow(0xBF58476D1CE4E5B9, -1, 1 << 64))
    return (unshifted(h, 30) ^ np.uint64(salt & MASK)).view(np.int64)


def stepped(rows: Vectors, grads: Vectors, optimizer: Optimizer) -> Vectors:
    """Rows of vector and state after one step each, in float32 as the papers write it."""
    out, dim = rows.copy(), grads.shape[1]
    weights, state = out[:, :dim], out[:, dim:]
    if isinstance(optimizer, SGD):
        weights -= np.float32(optimizer.lr) * grads
    elif isinstance(optimizer, Adagrad):
        state += grads * grads
        weights -= np.float32(optimizer.lr) * grads / (np.sqrt(state) + np.float32(optimizer.eps))
    elif isinstance(optimizer, Adam):
        first, second, steps = state[:, :dim], state[:, dim : 2 * dim], state[:, 2 * dim :]
        beta1, beta2 = optimizer.beta1, optimizer.beta2
        steps += 1
        first[:] = np.float32(beta1) * first + np.float32(1 - beta1) * grads
        second[:] = np.float32(beta2) * second + np.float32(1 - beta2) * grads * grads
        rate = (optimizer.lr / (1 - beta1 ** steps.astype(np.float64))).astype(np.float32)
        root = np.sqrt(1 - beta2 ** steps.astype(np.float64)).astype(np.float32)
        weights -= rate * first / (np.sqrt(second) / root + np.float32(optimizer.eps))
    return out


class DictTable:
    """What a table made with the same settings as `table` must do."""

    def __init__(self, table: EmbeddingTable) -> None:
        self.name, self.dim, self.seed, self.ttl = table.name, table.dim, table.seed, table.ttl_ms
        self.optimizer, self.admission, self.budget = table.optimizer, table.admission, table.budget_bytes
        self.salt = int(table._store.layout[3])
        self.limit = table._store.row_limit
        self.rows: dict[int, int] = {}
        self.width = self.dim + self.optimizer.state_size(self.dim)
        self.values = np.zeros((0, self.width), np.float32)
        self.seen, self.counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.default = self._begun(np.zeros((1, self.dim), np.float32))
        self.default_touched = False
        self.touched: set[int] = set()
        self.gone: set[int] = set()
        self.sightings: Counter[int] = Counter()
        self.since_halved = self.draws = 0
        self.rejected_gradients = self.ignored = self.denied_rows = self.evicted_for_budget = 0
        self.operations = 0

    def rows_of(self, keys: Keys) -> NDArray[np.int64]:
        """int64[n], -1 for a key without a row."""
        self.operations += len(keys)
        return np.array([self.rows.get(key, -1) for key in keys.tolist()], np.int64)

    def keys(self) -> set[int]:
        return set(self.rows)

    def lookup(self, keys: Keys) -> Vectors:
        rows = self.rows_of(keys)
        return np.concatenate([self.values, self.default])[rows][:, : self.dim]

    def train(self, keys: Keys, now: int, rows: NDArray[np.int64], left: Keys) -> None:
        """`rows` is what train_rows said; `left` the keys that had a row before and have none any more."""
        known = self.rows_of(keys)
        assert (rows[known >= 0] == known[known >= 0]).all(), "a key has another row"
        self._crowd_out(left, keys)
        strange = known < 0
        wanted = np.ones(len(keys), bool)
        wanted[strange] = self._admitted(keys[strange], now)
        rejected_gradients = wanted & (rows < 0)
        assert ((rows >= 0) <= wanted).all(), "a row was given without admission"
        assert not rejected_gradients.any() or self.budget is not None, "no row was given"
        self.denied_rows += int(rejected_gradients.sum())
        self._enter(keys[strange & (rows >= 0)], rows[strange & (rows >= 0)])
        given = rows[rows >= 0]
        np.add.at(self.counts, given, 1)
        np.minimum(self.counts, MOST, out=self.counts)
        self.seen[given] = np.maximum(self.seen[given], now)
        assert len(self.rows) <= self.limit

    def _crowd_out(self, left: Keys, keys: Keys) -> None:
        assert not len(left) or self.budget is not None
        assert not np.isin(left, keys).any(), "a key made way for others of its batch"
        self._forget(left.tolist())
        self.evicted_for_budget += len(left)

    def _enter(self, keys: Keys, rows: NDArray[np.int64]) -> None:
        new, first, which = np.unique(keys, return_index=True, return_inverse=True)
        taken = rows[first]
        assert (rows == taken[which]).all(), "a key has two rows"
        assert len(np.unique(taken)) == len(taken), "two keys have one row"
        self._widen(int(taken.max(initial=-1)) + 1)
        assert (self.counts[taken] == 0).all(), "a row is still another key's"
        self.values[taken] = self._begun(self._starts(new))
        self.seen[taken] = -(1 << 62)
        self.rows.update(zip(new.tolist(), taken.tolist(), strict=True))
        self.touched.update(new.tolist())

    def _starts(self, keys: Keys) -> Vectors:
        fresh = EmbeddingTable(self.dim, "sgd", name=self.name, seed=self.seed)
        fresh.train_rows(keys, 0)
        return fresh.lookup(keys)

    def _begun(self, starts: Vectors) -> Vectors:
        whole = np.full((len(starts), self.width), self.optimizer.initial_state(), np.float32)
        whole[:, : self.dim] = starts
        return whole

    def _widen(self, size: int) -> None:
        more = max(size, 2 * len(self.seen)) - len(self.seen) if size > len(self.seen) else 0
        self.values = np.concatenate([self.values, np.zeros((more, self.width), np.float32)]) if more else self.values
        self.seen, self.counts = (np.concatenate([each, np.zeros(more, np.int64)]) for each in (self.seen, self.counts))

    def _admitted(self, keys: Keys, now: int) -> NDArray[np.bool_]:
        """Which of these sightings, of keys without a row, give or have one."""
        if isinstance(self.admission, After):
            return self._counted(keys, self.admission)
        if isinstance(self.admission, Probability):
            return self._drawn(mixed(mixed(keys, self.salt ^ GOLDEN).view(np.int64), now), self.admission.p)
        return np.ones(len(keys), bool)

    def _drawn(self, hashes: NDArray[np.uint64], p: float) -> NDArray[np.bool_]:
        """Each sighting draws for itself, until one has drawn a row."""
        answers, entered = np.zeros(len(hashes), bool), set()
        for place, hashed in enumerate(hashes.tolist()):
            if hashed not in entered:
                if mixed_one(hashed, self.draws) >> 11 < p * 2.0**53:
                    entered.add(hashed)
                self.draws += 1
            answers[place] = hashed in entered
        return answers

    def _counted(self, keys: Keys, admission: After) -> NDArray[np.bool_]:
        """By exact counts: the sketch has the same as long as no two keys share all their counters."""
        answers, entered = np.zeros(len(keys), bool), set()
        for place, key in enumerate(keys.tolist()):
            if key not in entered:
                self.sightings[key] += 1
                if self.sightings[key] >= admission.k:
                    self.sightings[key] -= admission.k
                    entered.add(key)
                else:
                    self._age(admission.window_within(self.budget))
            answers[place] = key in entered
        return answers

    def _age(self, window: int) -> None:
        self.since_halved += 1
        if self.since_halved >= window:
            self.since_halved = 0
            self.sightings = Counter({key: count // 2 for key, count in self.sightings.items() if count > 1})

    def step(self, keys: Keys, grads: Vectors) -> None:
        rows = self.rows_of(keys)
        if self.admission is None:
            self.ignored += int((rows < 0).sum())
            keys, grads, rows = keys[rows >= 0], grads[rows >= 0], rows[rows >= 0]
        once, first, which = np.unique(rows, return_index=True, return_inverse=True)
        sums = np.zeros((len(once), self.dim), np.float32)
        np.add.at(sums, which, grads)
        with np.errstate(invalid="ignore"):
            sound = (np.abs(sums) <= np.float32(1e15)).all(axis=1)
        self.rejected_gradients += int((~sound).sum())
        real = sound & (once >= 0)
        self.values[once[real]] = stepped(self.values[once[real]], sums[real], self.optimizer)
        self.touched.update(keys[first[real]].tolist())
        if (sound & (once < 0)).any():
            self.default = stepped(self.default, sums[:1], self.optimizer)
            self.default_touched = True

    def evict(self, now: int, limit: int | None, keys: Keys) -> None:
        live = np.fromiter(self.rows.values(), np.int64, len(self.rows))
        due = int((now - self.seen[live] > self.ttl).sum()) if self.ttl is not None else 0
        assert len(keys) == len(np.unique(keys)) == (due if limit is None else min(limit, due))
        rows = self.rows_of(keys)
        assert (rows >= 0).all()
        assert self.ttl is None or (now - self.seen[rows] > self.ttl).all()
        self._forget(keys.tolist())

    def _forget(self, keys: list[int]) -> None:
        for key in keys:
            self.counts[self.rows.pop(key)] = 0
        self.touched.difference_update(keys)
        self.gone.update(keys)

    def drain(self, delta: Delta) -> None:
        assert (len(delta.keys), set(delta.keys.tolist())) == (len(self.touched), self.touched)
        tombstones = self.gone - self.rows.keys()
        assert (len(delta.tombstones), set(delta.tombstones.tolist())) == (len(tombstones), tombstones)
        np.testing.assert_array_equal(delta.vectors, self.lookup(delta.keys))
        assert (delta.default is not None) == self.default_touched
        self.touched, self.gone, self.default_touched = set(), set(), False

    def restore(self, delta: Delta) -> None:
        """Called at any time after the drain, with nothing since accepted."""
        self.operations += len(delta.keys)
        self.touched.update(self.rows.keys() & set(delta.keys.tolist()))
        self.gone.update(delta.tombstones.tolist())
        self.default_touched |= delta.default is not None

    def check(self, table: EmbeddingTable) -> None:
        """Everything of the table at once."""
        table.check_invariants()
        keys = table.keys()
        assert (len(table), table.touched) == (len(self.rows), len(self.touched))
        rows = self.rows_of(keys)
        assert (np.diff(rows) > 0).all()
        np.testing.assert_array_equal(table._store.find(keys), rows)
        np.testing.assert_array_equal(table._store.words_of(rows), (self.seen[rows] << 16) | self.counts[rows])
        np.testing.assert_array_equal(table.lookup(keys), self.values[rows, : self.dim])
        np.testing.assert_array_equal(table.default, self.default[0, : self.dim])
        assert (table.rejected_gradients, table.ignored) == (self.rejected_gradients, self.ignored)
        assert (table.denied_rows, table.evicted_for_budget) == (self.denied_rows, self.evicted_for_budget)
