"""Gradients of a batch's loss and the step of the dense weights: compiled where a model has that, or by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stream_reco.model.fused.interface import Fused, Learned, RowGradients, fused_of
from stream_reco.model.rows import Lookup, gather
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


class ByAutograd:
    """For any model; the reference for those with a fused form."""

    def __init__(self, model: Model, optimizer: DenseAdam) -> None:
        self._model, self._optimizer = model, optimizer

    def of(self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float) -> Learned:
        """See `Gradients`."""
        if self._model.network is not None:
            self._model.network.train()
        rows = gather(self._model.fields, batch.batch, tables, training=True)
        loss = self._model.loss(batch, rows)
        self._optimizer.zero_grad()
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        found = [
            RowGradients(one.table, one.keys, one.rows.grad.numpy())
            for one in rows.gathered()
            if one.rows.grad is not None
        ]
        return Learned(float(loss.detach()), found)

    def step(self, rate: float) -> None:
        """See `Gradients`."""
        self._optimizer.step(rate)


class Compiled:
    """For a model with a fused form."""

    def __init__(self, fused: Fused, optimizer: DenseAdam) -> None:
        self._fused, self._optimizer = fused, optimizer

    def of(self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float) -> Learned:
        """See `Gradients`."""
        return self._fused.learn(batch, tables, scale, self._optimizer.gradients)

    def step(self, rate: float) -> None:
        """See `Gradients`."""
        self._optimizer.step_all(rate)


def gradients_of(model: Model, optimizer: DenseAdam) -> Gradients:
    """The quickest way that a model has; `optimizer` is that of its network's weights."""
    fused = fused_of(model)
    return ByAutograd(model, optimizer) if fused is None else Compiled(fused, optimizer)
