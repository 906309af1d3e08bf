"""Embedding rows of a batch as tensors, gathered from the tables once for each distinct key: for training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.fields import Field
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup

__all__ = ["Gathered", "Lookup", "Rows", "gather"]

T = TypeVar("T")


@dataclass(frozen=True)
class Gathered:
    """Distinct rows of one table."""

    table: str
    keys: NDArray[np.int64]
    """int64[u], distinct."""
    rows: Tensor
    """float32[u, dim]; a leaf of the graph when gathered for training."""


class Rows(Mapping[str, Tensor]):
    """The rows that a batch reads, by field: float32[*keys.shape, dim] each."""

    def __init__(self, used: Mapping[str, tuple[Gathered, Tensor]]) -> None:
        """`used`: for each field the rows of its table and where it uses them, int64[*keys.shape]."""
        self._used = dict(used)
        self._computed: dict[str, Any] = {}

    def __getitem__(self, field: str) -> Tensor:
        # Selected at each use: gradients of several uses then add up row by row, not place by place, and index_select
        # is quicker than brackets, above all its gradient.
        gathered, places = self._used[field]
        return gathered.rows.index_select(0, places.flatten()).view(*places.shape, -1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._used)

    def __len__(self) -> int:
        return len(self._used)

    def __or__(self, other: Rows) -> Rows:
        """The fields of both, and what was computed of them."""
        both = Rows({**self._used, **other._used})
        both._computed = {**self._computed, **other._computed}
        return both

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed at the first call only: user vectors serve retrieval and ranking."""
        if name not in self._computed:
            self._computed[name] = compute()
        found: T = self._computed[name]
        return found

    def gathered(self) -> list[Gathered]:
        """The distinct rows of each table."""
        return list({id(one): one for one, _ in self._used.values()}.values())


def gather(fields: Iterable[Field], batch: Batch, tables: Mapping[str, Lookup], *, training: bool) -> Rows:
    """Look the rows of these fields up, each distinct key once; with `training` the rows collect gradients."""
    used: dict[str, tuple[Gathered, Tensor]] = {}
    for table, group in groupby(sorted(fields, key=_table_of), key=_table_of):
        used |= _gather(table, list(group), batch, tables[table], training=training)
    return Rows(used)


def _table_of(field: Field) -> str:
    return field.table


def _gather(
    table: str, fields: Sequence[Field], batch: Batch, source: Lookup, *, training: bool
) -> dict[str, tuple[Gathered, Tensor]]:
    keys = [field.keys(batch) for field in fields]
    flat = np.concatenate([one.ravel() for one in keys])
    distinct, places = np.unique(flat, return_inverse=True)
    gathered = Gathered(table, distinct, torch.from_numpy(source.lookup(distinct)).requires_grad_(training))
    ends = np.cumsum([one.size for one in keys])
    parts = np.split(places.reshape(-1), ends[:-1])
    return {
        field.name: (gathered, torch.from_numpy(part.reshape(one.shape)))
        for field, one, part in zip(fields, keys, parts, strict=True)
    }
