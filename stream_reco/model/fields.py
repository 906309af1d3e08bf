"""What a model reads: its embedding tables, and the fields that select rows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import Admission, Optimizer
from stream_reco.model.inputs import NO_KEY, Batch

if TYPE_CHECKING:
    from stream_reco.model.training_batch import TrainingBatch

ROW_RANGE = 0.05
"""New rows are drawn from ±0.05: small compared with what training makes of them, and not all alike."""

FIRST_ACCUMULATOR = 0.1
"""Adagrad's sum of squares before the first step (TensorFlow's default), so that the first step is not the longest."""


@dataclass(frozen=True)
class TableSpec:
    """An embedding table of a model."""

    name: str
    dim: int
    optimizer: Optimizer | None = None
    """None: Adagrad with `training.row_learning_rate`."""
    admission: Admission | None = None
    """When a key gets a row of its own; None: at the first sighting, or where `per_user` as the settings say."""
    ttl_ms: int | None = None
    """A row leaves after this long without training; None: `training.row_idle_days`."""
    per_user: bool = False
    """Whether its keys are users, who get rows as `training.user_sightings` says."""
    most_bytes: int | None = None
    """Memory that it takes at most where `training.table_megabytes` sets no bound; None: no bound."""
    init_scale: float = ROW_RANGE
    """New rows are drawn uniformly from ±init_scale."""


def _no_keys(_: TrainingBatch) -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Field:
    """One use of a table's rows by a model; the same table may serve several fields."""

    name: str
    table: str
    keys: Callable[[Batch], NDArray[np.int64]]
    """int64 of any shape whose first axis is the requests or the candidates; 0 where there is none."""
    admits: Callable[[TrainingBatch], NDArray[np.int64]] = _no_keys
    """Keys int64[m] of a training batch that may get a row; by default reading gives nobody one."""
    per_candidate: bool = False
    """Whether the first axis is the candidates: such rows are read once the candidates are known."""


def present(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[m]: the keys, flattened, without those that stand for none."""
    flat: NDArray[np.int64] = keys[keys != NO_KEY]
    return flat
