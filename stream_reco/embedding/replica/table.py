"""The table of a serving replica: it follows the deltas of a trained one and is read, in the precision it is given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.delta import Delta
from stream_reco.embedding.kernels.insert import every_key
from stream_reco.embedding.kernels.slabs import AtAddresses
from stream_reco.embedding.replica.precision import Precision, format_of
from stream_reco.embedding.table.arguments import Keys, check_delta, checked_dim, checked_keys, checked_name
from stream_reco.embedding.table.invariants import check_store
from stream_reco.embedding.table.row_store import NEVER, RowStore, distinct, plain, salt_of

_ANY_TIME = 0
_EVERY_KEY = every_key()


@dataclass(frozen=True)
class PackedDelta:
    """A delta whose vectors are in a table's format; see `ReplicaTable.pack`."""

    keys: NDArray[np.int64]
    words: NDArray[np.float32]
    tombstones: NDArray[np.int64]
    default: NDArray[np.float32] | None


class ReplicaTable(AtAddresses):
    """Rows by 64-bit key, without optimizer, admission or eviction: all that changes them is deltas.

    dim: numbers in a vector. name: that of the table it follows. precision: what the rows are kept in; what each loses
    is said in `precision`. The default row is float32 always. Raises ValueError for an invalid dim or precision.
    Reads may run concurrently; `put` and `apply_delta` must be alone.
    """

    def __init__(self, dim: int, *, name: str = "", precision: Precision = "float32") -> None:
        self.name, self.dim, self.precision = checked_name(name), checked_dim(name, dim), precision
        self._format = format_of(precision)
        words = self._format.words(self.dim)
        self._store = RowStore(words, 0, salt_of(name), 0, NEVER)
        self._absent = np.zeros(words, np.float32)
        self._default = np.zeros(self.dim, np.float32)
        self._has_default = False
        _compile_kernels(precision)

    def __len__(self) -> int:
        return self._store.live

    @property
    def nbytes(self) -> int:
        """All bytes allocated: rows, index, keys, slack."""
        return self._store.nbytes + self._absent.nbytes + self._default.nbytes

    @property
    def default(self) -> NDArray[np.float32]:
        """float32[dim], a copy: what `lookup` answers for a key without a row; zeros until a delta brings another."""
        return self._default.copy()

    def lookup(self, keys: Keys) -> NDArray[np.float32]:
        """float32[n, dim] of int64[n] (or uint64, same bits); `default` for keys without a row. Never writes."""
        rows = self._store.find(checked_keys(self.name, keys))
        vectors = self._format.unpack(self._store.gather(rows, self._absent), self.dim)
        if self._has_default:
            vectors[rows < 0] = self._default
        return vectors

    def keys(self) -> NDArray[np.int64]:
        """int64[len], the keys that have a row, in the order of their rows."""
        return self._store.keys_of(self._store.live_rows())

    def apply_delta(self, delta: Delta) -> None:
        """Drop the tombstones, put the rows as they are given. Raises ValueError for a delta of another table."""
        self.put(self.pack(delta))

    def pack(self, delta: Delta) -> PackedDelta:
        """The part of `apply_delta` that changes nothing, so that readers need not wait for it."""
        check_delta(self.name, self.dim, delta)
        words = plain(self._format.pack(plain(delta.vectors)))
        return PackedDelta(plain(delta.keys), words, plain(delta.tombstones), delta.default)

    def put(self, packed: PackedDelta) -> None:
        """The other part, of what `pack` of this table gave."""
        gone = distinct(self._store.find(packed.tombstones))
        self._store.release(gone[gone >= 0])
        rows = self._store.claim(packed.keys, _ANY_TIME, _EVERY_KEY)
        self._store.scatter(rows, packed.words)
        if packed.default is not None:
            self._default[:] = packed.default
            self._has_default = True

    def check_invariants(self) -> None:
        """Raise AssertionError, naming what is wrong, unless index, rows and counts agree. Slow: for tests."""
        check_store(self._store)


_compiled: set[Precision] = set()


def _compile_kernels(precision: Precision) -> None:
    """Compile what a table runs when the first of its precision is made, so that no later request waits for it."""
    if precision in _compiled:
        return
    _compiled.add(precision)
    table = ReplicaTable(1, precision=precision)
    key, none = np.zeros(1, np.int64), np.empty(0, np.int64)
    table.apply_delta(Delta("", 1, key, np.zeros((1, 1), np.float32), none))
    table.lookup(key)
    table.keys()
    table.apply_delta(Delta("", 1, none, np.zeros((0, 1), np.float32), key))
