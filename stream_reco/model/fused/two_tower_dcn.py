"""The fused form of `two_tower_dcn`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.fused.averages import FeatureAverages
from stream_reco.model.fused.backward import BackwardPass, Step
from stream_reco.model.fused.forward import CandidateLayers, ForwardPass, RequestLayers
from stream_reco.model.fused.gathering import Buffers, Floats, ReadBatch, read_batch
from stream_reco.model.fused.interface import Learned, RowGradients
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn


def fused_two_tower_dcn(model: TwoTowerDcn) -> FusedTwoTowerDcn | None:
    """The fused form of a model; None where its settings leave rows out."""
    return FusedTwoTowerDcn(model) if all(model.uses.values()) else None


class FusedTwoTowerDcn:
    """A model that reads all of its rows, as `stream_reco.model.fused.interface.Fused` has it."""

    def __init__(self, model: TwoTowerDcn) -> None:
        settings, weights, buffers = model.settings, model.weights, Buffers()
        self._forward, self._averages = ForwardPass(settings, weights, buffers), FeatureAverages(weights)
        self._backward = BackwardPass(settings, weights, self._forward, buffers)

    def score(self, batch: Batch, tables: Mapping[str, Lookup]) -> Floats:
        """float32[n]: log-odds of each candidate, its position unknown."""
        read = read_batch(batch, tables)
        _, candidates = self._layers(read)
        return self._forward.odds(read, candidates, None)

    def bottom(self, batch: Batch, tables: Mapping[str, Lookup]) -> Floats:
        """float32[n, bottom_dim]: what the deep part and the crosses have made of each candidate."""
        _, candidates = self._layers(read_batch(batch, tables))
        return np.concatenate([candidates.hidden[1], candidates.layers[-1]], axis=1)

    def learn(
        self,
        batch: TrainingBatch,
        tables: Mapping[str, Lookup],
        scale: float,
        gradients: Mapping[str, NDArray[np.float32]],
    ) -> Learned:
        """The loss and the gradients of `scale` times it; see `Fused.learn`."""
        read = read_batch(batch.batch, tables)
        self._averages.learn(read.batch.dense)
        requests, candidates = self._layers(read)
        odds = self._forward.odds(read, candidates, batch.positions, learns=True)
        step = Step(batch.corrected(odds), read, requests, candidates, odds, scale, gradients)
        loss, rows = self._backward.run(step)
        of_rows = zip(read.tables, rows, strict=True)
        return Learned(loss, [RowGradients(one.table, one.keys, found) for one, found in of_rows])

    def _layers(self, read: ReadBatch) -> tuple[RequestLayers, CandidateLayers]:
        requests = self._forward.requests(read)
        return requests, self._forward.candidates(read, requests)
