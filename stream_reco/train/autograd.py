"""Gradients by autograd: for any model; the reference for those with a fused form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_reco.model.fused.interface import Learned, RowGradients
from stream_reco.model.rows import Lookup, gather
from stream_reco.model.spec import Model
from stream_reco.model.tensor_batch import TensorBatch
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.dense_adam import DenseAdam


class ByAutograd:
    """See `Gradients`."""

    def __init__(self, model: Model, optimizer: DenseAdam) -> None:
        """`optimizer` has the weights of the model's network, which are in one vector."""
        self._model, self._optimizer = model, optimizer
        self._given: set[str] = set()
        """The weights that the last batch has a gradient for."""

    def of(self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float) -> Learned:
        """See `Gradients`."""
        network = self._model.network
        if network is not None:
            network.train()
            network.zero_grad(set_to_none=True)
        rows = gather(self._model.fields, batch.batch, tables, training=True)
        loss = self._model.loss(TensorBatch(batch), rows)
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        self._given = set()
        for name, weight in [] if network is None else network.named_parameters():
            if weight.grad is not None:
                np.copyto(self._optimizer.gradients[name], weight.grad.numpy())
                self._given.add(name)
        found = [
            RowGradients(one.table, one.keys, one.rows.grad.numpy())
            for one in rows.gathered()
            if one.rows.grad is not None
        ]
        return Learned(float(loss.detach()), found)

    def step(self, rate: float) -> None:
        """See `Gradients`."""
        self._optimizer.step(rate, self._given)
