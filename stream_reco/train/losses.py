"""Losses of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stream_reco.model.inputs import Batch
from stream_reco.train.batch import TrainingBatch

_FAR_BELOW = -1e9


def opposite_loss(batch: TrainingBatch, logits: Tensor) -> Tensor:
    """float32[g]: the loss of each first candidate, had it the other label."""
    starts = torch.from_numpy(batch.batch.starts)
    other = 1.0 - batch.labels[starts]
    return functional.binary_cross_entropy_with_logits(logits[starts], other, reduction="none")


def list_loss(batch: Batch, logits: Tensor) -> Tensor:
    """float32[g]: cross-entropy of the first candidate among its request's."""
    owners = torch.from_numpy(batch.owners)
    places = torch.from_numpy(np.arange(len(batch.owners)) - batch.starts[batch.owners])
    table = torch.full((len(batch.starts), int(places.max()) + 1), _FAR_BELOW).index_put((owners, places), logits)
    return functional.cross_entropy(table, torch.zeros(len(table), dtype=torch.long), reduction="none")
