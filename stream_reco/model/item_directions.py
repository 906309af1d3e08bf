"""The directions of items in a model's space: what similarity and interests are computed by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.lookup import Lookup
from stream_reco.model.served import ServedModel
from stream_reco.model.spec import HasItemVectors, Model

_NO_DIM = 1
"""Dimension of the zero vectors that stand for items where a model gives none."""
_SMALLEST_NORM = np.float32(1e-12)
"""Vectors shorter than this are zeros but for rounding."""


class ItemDirections:
    """Unit vectors of items, from whatever tables a model's rows are in."""

    def __init__(self, model: Model | ServedModel) -> None:
        # To check a protocol takes as long as the lookup of a hundred rows.
        self._retrieves = model if isinstance(model, HasItemVectors) else None
        self._dim = _NO_DIM if self._retrieves is None else self._retrieves.vector_dim

    def of(self, tables: Mapping[str, Lookup], keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, vector_dim] of items `keys` int64[n]: length 1, or zeros for items without a row.

        All are zeros where the model gives no vectors, or there is no table yet.
        """
        model = self._retrieves
        table = None if model is None else tables.get(model.item_table)
        if model is None or table is None or not len(keys):
            return np.zeros((len(keys), self._dim), dtype=np.float32)
        vectors = model.item_vectors(table.lookup(keys))
        # As np.linalg.norm computes it, in half the time for a few rows.
        norms: Any = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))
        unit: NDArray[np.float32] = vectors / np.maximum(norms, _SMALLEST_NORM)
        return unit
