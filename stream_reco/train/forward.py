"""What a model says of candidates while it learns: by its fused form, or by its network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.fused.interface import fused_of
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.spec import Model


def log_odds_of(model: Model, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
    """float32[n]: what a model gives the candidates, positions unknown."""
    fused = fused_of(model)
    if fused is not None:
        return fused.score(batch, tables)
    from stream_reco.model.served_by_torch import scored

    return scored(model, batch, tables)


def bottom_of(model: Model, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
    """float32[n, bottom_dim]: what all heads share of each candidate; a model without a bottom gives its log-odds."""
    fused = fused_of(model)
    if fused is not None:
        return fused.bottom(batch, tables)
    from stream_reco.model.served_by_torch import read_bottom

    return read_bottom(model, batch, tables)
