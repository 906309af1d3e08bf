"""Some rows of a table, alone in another one: nothing of the others is left there, neither in memory nor in a file."""

from __future__ import annotations

from threading import RLock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.kernels.insert import every_key
from stream_reco.embedding.table.arguments import Keys, checked_keys
from stream_reco.embedding.table.row_store import NEVER, RowStore, distinct
from stream_reco.embedding.table.table import EmbeddingTable


class _Read(Protocol):
    """What is read of a table: its rows, while nobody else is at it."""

    _alone: RLock
    _store: RowStore


_EVERY = every_key()


def only(table: EmbeddingTable, keys: Keys) -> EmbeddingTable:
    """A table of the same settings with those rows of int64[n] keys that there are: vectors, optimizer state, last seen
    and count bit for bit. What admission has counted, and the default row, begin anew.
    """
    chosen = EmbeddingTable(
        table.dim,
        table.optimizer,
        table.admission,
        table.ttl_ms,
        name=table.name,
        init_scale=table.init_scale,
        seed=table.seed,
        budget_bytes=table.budget_bytes,
        half_life_ms=table.half_life_ms,
    )
    _copy_those(table, distinct(checked_keys(table.name, keys)), chosen)
    return chosen


def _copy_those(source: _Read, keys: NDArray[np.int64], target: _Read) -> None:
    with source._alone:
        rows = source._store.find(keys)
        _copy(source._store, np.sort(rows[rows >= 0]), target._store)


def _copy(source: RowStore, rows: NDArray[np.int64], target: RowStore) -> None:
    """Copy `rows` of a store to another one, which is empty."""
    if not len(rows):
        return
    keys = source.keys_of(rows)
    places = target.claim(keys, 0, _EVERY)
    for given, taken in ((source.meta, target.meta), (source.data, target.data)):
        items = given.read(source.top).reshape(-1, given.item_bytes)[rows]
        ordered = np.empty_like(items)
        ordered[places] = items
        flat, done = ordered.reshape(-1), 0
        for piece in taken.pieces(len(rows)):
            piece[:] = flat[done : done + len(piece)]
            done += len(piece)
    # Not known without a look at all rows: each page gets one when it is its turn.
    target.bounds[:] = -NEVER
