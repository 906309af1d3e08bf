"""The directions of items in a model's space: what similarity and interests are computed by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.rows import Lookup
from stream_reco.model.spec import Model, Retrieves

_NO_DIM = 1
"""Dimension of the zero vectors that stand for items where a model gives none."""
_SMALLEST_NORM = np.float32(1e-12)
"""Vectors shorter than this are zeros but for rounding."""


def item_directions(model: Model, tables: Mapping[str, Lookup], keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[n, vector_dim] of items `keys` int64[n]: length 1, or zeros for items without a row.

    All are zeros where the model gives no vectors, or there is no table yet.
    """
    if not isinstance(model, Retrieves):
        return np.zeros((len(keys), _NO_DIM), dtype=np.float32)
    table = tables.get(model.item_table)
    if table is None or not len(keys):
        return np.zeros((len(keys), model.vector_dim), dtype=np.float32)
    vectors = model.item_vectors(table.lookup(keys))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norms, _SMALLEST_NORM)
    return unit
