"""What one trainer changed in a table since it last met the others, and what all of them changed, put together.

Rows with their optimizer state are sums: of gradients, and of squares of gradients. So are the changes of several
trainers, which are added to what all of them had. A new row begins from its key alone, the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.kernels import rows as row_kernels
from stream_reco.embedding.kernels.insert import every_key
from stream_reco.embedding.table.row_store import RowStore, distinct
from stream_reco.embedding.table.table import EmbeddingTable


class _Inside(Protocol):
    """What is done to the rows of a table while nobody else is at it."""

    _alone: RLock
    _store: RowStore
    _default: NDArray[np.float32]

    def _make_way(self, given: NDArray[np.int64], waiting: NDArray[np.int64]) -> bool: ...
    def _give_up(self, rows: NDArray[np.int64]) -> NDArray[np.int64]: ...


ADDITIVE = frozenset({"sgd", "adagrad", "rowwise_adagrad"})
"""Optimizers whose state is a sum over gradients."""
_EVERY = every_key()


@dataclass(frozen=True)
class RowDeltas:
    """What one trainer changed in a table."""

    name: str
    keys: NDArray[np.int64]
    """int64[n], distinct, ascending."""
    deltas: NDArray[np.float32]
    """float32[n, dim + state]: what is added to vectors and optimizer state."""
    gone: NDArray[np.int64]
    """int64[m]: keys whose rows left, before those of `keys` began afresh where they are among them."""
    default: NDArray[np.float32]
    """float32[dim + state]: what is added to the row that keys without one share; float32[0]: nothing."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        return not (len(self.keys) or len(self.gone) or len(self.default))


class RowChanges:
    """Keeps rows of a table as they were before they changed, from when it is made and from each `merge`.

    ValueError where the table's optimizer keeps what is no sum.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        if table.optimizer.name not in ADDITIVE:
            raise ValueError(
                f"table {table.name!r} is trained with {table.optimizer.name}, whose state several trainers cannot add"
                f" up: choose one of {', '.join(sorted(ADDITIVE))}, or set training.trainers to 1"
            )
        self._table = table
        self._every = every_key(table.init_scale, table.optimizer.initial_state())
        table.changes = self
        self._begin()

    def _begin(self) -> None:
        width = int(self._table._store.layout[row_kernels.STRIDE])
        self._before = RowStore(width, 0, 1, 1, 0)
        self._gone: list[NDArray[np.int64]] = []
        self._default = self._table._default.copy()

    def change(self, rows: NDArray[np.int64]) -> None:
        """Rows int64[n] of the table, -1 among them, are about to change."""
        keys = distinct(self._table._store.keys_of(rows[rows >= 0]))
        new = keys[self._before.find(keys) < 0]
        if len(new):
            self._before.scatter(self._before.claim(new, 0, _EVERY), _whole(self._table, self._table._store.find(new)))

    def leave(self, keys: NDArray[np.int64]) -> None:
        """The rows of keys int64[n] have left the table."""
        found = self._before.find(keys)
        self._before.release(found[found >= 0])
        self._gone.append(keys.copy())

    def deltas(self) -> RowDeltas:
        """What changed so far; it goes on being kept."""
        with self._table._alone:
            keys = np.sort(self._before.keys_of(self._before.live_rows()))
            found = _whole(self._table, self._table._store.find(keys)) - self._kept(keys)
            moved = found.any(axis=1)
            default = self._table._default - self._default
            gone = distinct(np.concatenate([np.empty(0, np.int64), *self._gone]))
            default = default if default.any() else default[:0]
            return RowDeltas(self._table.name, keys[moved], found[moved], gone, default)

    def merge(self, all_deltas: Sequence[RowDeltas], now: int) -> None:
        """Take back what changed here, and put together what changed anywhere, in this order; own `deltas` are in it.

        Rows that others learned from were seen at event time `now`, ms.
        """
        table = self._table
        with table._alone:
            keys = self._before.keys_of(self._before.live_rows())
            _overwrite(table, table._store.find(keys), self._kept(keys))
            table._default[:] = self._default
            self._begin()
            for one in all_deltas:
                self._drop(one.gone)
                self._add(one, now)
            self._default[:] = table._default

    def _kept(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._before.gather(self._before.find(keys), np.empty(0, np.float32))

    def _drop(self, keys: NDArray[np.int64]) -> None:
        table = self._table
        found = table._store.find(keys)
        # Somebody has said already that they left.
        table.changes = None
        table._give_up(found[found >= 0])
        table.changes = self

    def _add(self, one: RowDeltas, now: int) -> None:
        table = self._table
        rows = table._store.claim(one.keys, now, self._every, table._make_way)
        # Where all memory is used by rows of the same message, the last of them get none.
        given = rows >= 0
        _overwrite(table, rows[given], _whole(table, rows[given]) + one.deltas[given])
        table._store.touch(rows[given])
        if len(one.default):
            table._default += one.default
            table._default_touched = True


def _with_state(table: _Inside) -> NDArray[np.int64]:
    """The layout by which kernels take the optimizer state for a part of the vector."""
    layout = table._store.layout.copy()
    layout[row_kernels.DIM] = layout[row_kernels.STRIDE]
    return layout


def _whole(table: _Inside, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[n, dim + state] of int64[n] rows, none of them -1."""
    layout = _with_state(table)
    found = np.empty((len(rows), int(layout[row_kernels.STRIDE])), np.float32)
    row_kernels.gather(rows, table._store.data.addresses, layout, table._default, found)
    return found


def _overwrite(table: _Inside, rows: NDArray[np.int64], numbers: NDArray[np.float32]) -> None:
    row_kernels.scatter(rows, table._store.data.addresses, _with_state(table), numbers)
