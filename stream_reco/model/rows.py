"""Embedding rows of a batch, gathered from the tables once for each distinct key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.inputs import Batch
from stream_reco.model.settings import ModelSettings

TABLES = ("item", "user", "context")


def table_dims(settings: ModelSettings) -> dict[str, int]:
    """Dimension of each embedding table.

    A row of "item" is three vectors behind each other: what the ranker reads, what the item is (the target of the
    tower), and what it says as a part of a history.
    """
    return {
        "item": settings.item_dim + 2 * settings.tower_dim,
        "user": settings.user_dim,
        "context": settings.context_dim,
    }


class Lookup(Protocol):
    """What a table must do to be read here."""

    def lookup(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, dim] of `keys` int64[n]."""
        ...


@dataclass
class Gathered:
    """Rows of one table and where a batch uses them."""

    keys: NDArray[np.int64]
    """int64[u], distinct."""
    rows: Tensor
    """float32[u, dim]; a leaf of the graph when gathered for training."""
    places: Tensor
    """int64 of any shape: index into `rows` for each use."""

    @property
    def used(self) -> Tensor:
        """float32[*places, dim]."""
        return self.at(self.places.flatten()).view(*self.places.shape, -1)

    def at(self, places: Tensor) -> Tensor:
        """float32[n, dim] of places int64[n]."""
        # Quicker than brackets, above all its gradient.
        return self.rows.index_select(0, places)


@dataclass
class Rows:
    """All rows that a batch reads."""

    items: Gathered
    """Places: the n candidates, then the g × RECENT items of the histories."""
    users: Gathered
    contexts: Gathered

    def by_table(self) -> dict[str, Gathered]:
        """The same by table name."""
        return {"item": self.items, "user": self.users, "context": self.contexts}


def gather(batch: Batch, tables: Mapping[str, Lookup], *, training: bool) -> Rows:
    """Look all rows of a batch up; with `training` the rows collect gradients."""
    items = np.concatenate([batch.item_keys, batch.history_keys.ravel()])
    return Rows(
        _gather(items, tables["item"], training=training),
        _gather(batch.user_keys, tables["user"], training=training),
        _gather(batch.context_keys, tables["context"], training=training),
    )


def _gather(keys: NDArray[np.int64], table: Lookup, *, training: bool) -> Gathered:
    distinct, places = np.unique(keys, return_inverse=True)
    rows = torch.from_numpy(table.lookup(distinct))
    return Gathered(distinct, rows.requires_grad_(training), torch.from_numpy(places.reshape(keys.shape)))
