"""Losses that several models share; all are of log-odds, after any correction for sampling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stream_reco.model.inputs import Batch
from stream_reco.model.tensor_batch import TensorBatch

_FAR_BELOW = -1e9
"""Log-odds of places that no candidate fills: their share of a softmax is 0 in float32."""


def pointwise_loss(batch: TensorBatch, logits: Tensor) -> Tensor:
    """float32[n]: weighted logistic loss of each candidate."""
    losses = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
    return losses * batch.weights[batch.owners]


def opposite_loss(batch: TensorBatch, logits: Tensor) -> Tensor:
    """float32[g]: logistic loss of each first candidate, had it the other label."""
    starts = batch.first
    other = 1.0 - batch.labels[starts]
    return functional.binary_cross_entropy_with_logits(logits[starts], other, reduction="none")


def undone_loss(batch: TensorBatch, logits: Tensor) -> Tensor:
    """The loss of labels that were learned before and turned out wrong, to subtract; a scalar."""
    if not bool(batch.undone.any()):
        return torch.zeros(())
    return (opposite_loss(batch, logits) * batch.undone)[~batch.sampled].sum()


def list_loss(batch: Batch, logits: Tensor) -> Tensor:
    """float32[g]: cross-entropy of the first candidate among its request's."""
    owners = torch.from_numpy(batch.owners)
    places = torch.from_numpy(np.arange(len(batch.owners)) - batch.starts[batch.owners])
    table = torch.full((len(batch.starts), int(places.max()) + 1), _FAR_BELOW).index_put((owners, places), logits)
    return functional.cross_entropy(table, torch.zeros(len(table), dtype=torch.long), reduction="none")
