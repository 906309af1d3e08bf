"""The towers and the cross network in a few compiled passes, forward and back.

A step of a few hundred candidates takes longer for its hundreds of small operations on tensors than for its arithmetic.
Here products are PyTorch's, on as many threads as it is given, and between them are a dozen loops. What is computed is
that of `Ranker` and `TwoTowerDcn.loss`, whose gradients by autograd are the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.fused.backward import BackwardPass, Step
from stream_reco.model.fused.forward import CandidateLayers, ForwardPass, RequestLayers
from stream_reco.model.fused.forward_kernels import learn_moments
from stream_reco.model.fused.gathering import Buffers, ReadBatch, read_batch
from stream_reco.model.fused.interface import Learned, RowGradients
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.two_tower_dcn import Ranker, TwoTowerDcn


def fused_two_tower_dcn(model: TwoTowerDcn) -> FusedTwoTowerDcn | None:
    """The fused form of a model; None where its settings leave rows out."""
    return FusedTwoTowerDcn(model.network) if all(model.network.uses.values()) else None


class FusedTwoTowerDcn:
    """A `Ranker` that reads all of its rows, as `stream_reco.model.fused.interface.Fused` has it."""

    def __init__(self, network: Ranker) -> None:
        buffers = Buffers()
        self._network = network
        self._forward, self._backward = ForwardPass(network, buffers), BackwardPass(network, buffers)
        self._names = [name for name, _ in network.named_parameters()]

    def score(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[n]: log-odds of each candidate, its position unknown."""
        with torch.no_grad():
            self._network.click_rate.eval()
            odds, _, _ = self._layers(read_batch(batch, tables), None)
            result: NDArray[np.float32] = odds.numpy()
            return result

    def learn(
        self, batch: TrainingBatch, tables: Mapping[str, Lookup], scale: float, gradients: Sequence[Tensor]
    ) -> Learned:
        """The loss and the gradients of `scale` times it; see `Fused.learn`."""
        with torch.no_grad():
            read, moments = read_batch(batch.batch, tables), self._network.standardise
            self._network.click_rate.train()
            mean, variance = moments.mean.numpy(), moments.variance.numpy()
            learn_moments(read.batch.dense, mean, variance, moments.next_share())
            odds, requests, candidates = self._layers(read, batch.positions)
            named = dict(zip(self._names, gradients, strict=True))
            step = Step(batch.corrected(odds), read, requests, candidates, odds, scale, named)
            loss, rows = self._backward.run(step)
        of_rows = zip(read.tables, rows, strict=True)
        return Learned(loss, [RowGradients(one.table, one.keys, found.numpy()) for one, found in of_rows])

    def _layers(self, read: ReadBatch, positions: Tensor | None) -> tuple[Tensor, RequestLayers, CandidateLayers]:
        requests = self._forward.requests(read)
        candidates = self._forward.candidates(read, requests)
        return self._forward.odds(read, candidates, positions), requests, candidates
