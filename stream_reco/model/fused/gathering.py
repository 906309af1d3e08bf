"""What a fused step reads: distinct rows of the tables, and buffers that the next step uses again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.fused.forward_kernels import number_keys
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup

Floats = NDArray[np.float32]
_ROOM = 4
"""A buffer that grows gets a quarter more than it needs, so that it seldom grows."""


class Buffers:
    """Memory by name: to allocate the megabytes of a step takes as long as to fill them."""

    def __init__(self) -> None:
        self._flat: dict[str, Floats] = {}

    def take(self, name: str, rows: int, columns: int) -> Floats:
        """float32[rows, columns] of any values, valid until the name is taken again."""
        size, flat = rows * columns, self._flat.get(name)
        if flat is None or len(flat) < size:
            flat = self._flat[name] = np.empty(size + size // _ROOM, dtype=np.float32)
        return flat[:size].reshape(rows, columns)

    def zeros(self, name: str, rows: int, columns: int) -> Floats:
        """The same, all zeros."""
        cleared = self.take(name, rows, columns)
        cleared[:] = 0.0
        return cleared


class DistinctRows(NamedTuple):
    """Distinct rows of a table, and where a batch uses them."""

    table: str
    keys: NDArray[np.int64]
    """int64[u]"""
    rows: Floats
    """float32[u, dim]"""
    places: NDArray[np.int64]
    """int64[m]: of each use the row."""


class ReadBatch(NamedTuple):
    """A batch of g requests with n candidates, and the rows of its items, users and contexts."""

    batch: Batch
    items: DistinctRows
    """Its places are of the candidates, then of the histories."""
    users: DistinctRows
    contexts: DistinctRows
    bounds: NDArray[np.int64]
    """int64[g + 1]: where the candidates of each request begin."""

    @property
    def tables(self) -> tuple[DistinctRows, DistinctRows, DistinctRows]:
        """Items, users, contexts."""
        return self.items, self.users, self.contexts

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where the rows of histories, users and contexts are."""
        return self.items.places[len(self.batch.item_keys) :], self.users.places, self.contexts.places


def read_batch(batch: Batch, tables: Mapping[str, Lookup]) -> ReadBatch:
    """Look up each distinct key of a batch once."""
    return ReadBatch(
        batch,
        _distinct("item", tables, np.concatenate([batch.item_keys, batch.history_keys.ravel()])),
        _distinct("user", tables, batch.user_keys),
        _distinct("context", tables, batch.context_keys.ravel()),
        np.append(batch.starts, len(batch.item_keys)),
    )


def _distinct(table: str, tables: Mapping[str, Lookup], keys: NDArray[np.int64]) -> DistinctRows:
    distinct, places = np.empty(len(keys), dtype=np.int64), np.empty(len(keys), dtype=np.int64)
    distinct = distinct[: number_keys(keys, distinct, places)]
    return DistinctRows(table, distinct, np.ascontiguousarray(tables[table].lookup(distinct)), places)
