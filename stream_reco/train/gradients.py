"""Gradients of a batch's loss and the step of the dense weights: compiled where a model has that, or by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stream_reco.model.fused.interface import Fused, Learned, fused_of
from stream_reco.model.lookup import Lookup
from stream_reco.model.spec import Model
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.dense_adam import DenseAdam


class Gradients(Protocol):
    """Computes gradients, then moves the dense weights by them."""

    def of(self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float) -> Learned:
        """The loss of a batch and the gradients of `scale` times it; those of rows are returned."""
        ...

    def step(self, rate: float) -> None:
        """Move the dense weights."""
        ...


class Compiled:
    """For a model with a fused form."""

    def __init__(self, fused: Fused, optimizer: DenseAdam) -> None:
        self._fused, self._optimizer = fused, optimizer

    def of(self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float) -> Learned:
        """See `Gradients`."""
        return self._fused.learn(batch, tables, scale, self._optimizer.gradients)

    def step(self, rate: float) -> None:
        """See `Gradients`."""
        self._optimizer.step(rate)


def gradients_of(model: Model, optimizer: DenseAdam) -> Gradients:
    """The quickest way that a model has; `optimizer` is that of its dense weights."""
    fused = fused_of(model)
    if fused is not None:
        return Compiled(fused, optimizer)
    # PyTorch is imported only where it is needed.
    from stream_reco.train.autograd import ByAutograd

    return ByAutograd(model, optimizer)
