"""A model without a serving form of its own: scorers run its network, and have PyTorch in their process for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.heads import bottom_dim_of
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.rows import Rows, gather
from stream_reco.model.served import Forward, ServedModel
from stream_reco.model.spec import HasBottom, Model, Retrieves
from stream_reco.model.weights import load_weights, weights_of
from stream_reco.signals.growing import Parts


class ServedByTorch:
    """Scores by the network of a model."""

    def __init__(self, model: Model) -> None:
        self.model, self.settings, self.needs = model, model.settings, model.needs
        self.dims: Mapping[str, int] = {table.name: table.dim for table in model.tables}
        self.bottom_dim = bottom_dim_of(model)
        self._of_requests = [field for field in model.fields if not field.per_candidate]
        self._of_candidates = [field for field in model.fields if field.per_candidate]
        if model.network is not None:
            model.network.eval()

    @property
    def name(self) -> str:
        """That of the model."""
        return self.model.name

    def zeros(self) -> Parts:
        """Weights that fit: those that the network has."""
        return weights_of(self.model.network)

    def load(self, weights: Parts) -> None:
        """Copy the weights into the network."""
        load_weights(self.model.network, weights)

    def requests(self, batch: Batch, tables: Mapping[str, Lookup]) -> tuple[Batch, Rows]:
        """The requests, and what the model reads of them."""
        return batch, gather(self._of_requests, batch, tables, training=False)

    def score(
        self, requests: tuple[Batch, Rows], batch: Batch, tables: Mapping[str, Lookup], *, bottom: bool = False
    ) -> Forward:
        """One forward pass; what it computes below its output is shared with `bottom`."""
        rows = requests[1] | gather(self._of_candidates, batch, tables, training=False)
        with torch.no_grad():
            odds = self.model.score(batch, rows).numpy()
            return Forward(odds, bottom_of(self.model, batch, rows).numpy() if bottom else None)


class VectorsByTorch(ServedByTorch):
    """The same of a model that gives vectors."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        assert isinstance(model, Retrieves)
        self._retrieves = model
        self.item_table, self.vector_dim = model.item_table, model.vector_dim

    def user_vectors(self, requests: tuple[Batch, Rows]) -> NDArray[np.float32]:
        """float32[g, vector_dim]"""
        with torch.no_grad():
            return self._retrieves.user_vectors(*requests).numpy()

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, vector_dim]"""
        return self._retrieves.item_vectors(item_rows)


def served_by_torch(model: Model) -> ServedModel:
    """The serving form of any model."""
    return VectorsByTorch(model) if isinstance(model, Retrieves) else ServedByTorch(model)


def scored(model: Model, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
    """float32[n]: log-odds of the candidates of a batch, as a model's network has them."""
    if model.network is not None:
        model.network.eval()
    with torch.no_grad():
        return model.score(batch, gather(model.fields, batch, tables, training=False)).numpy()


def read_bottom(model: Model, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
    """float32[n, bottom_dim]: what all heads share of each candidate."""
    if model.network is not None:
        model.network.eval()
    with torch.no_grad():
        return bottom_of(model, batch, gather(model.fields, batch, tables, training=False)).numpy()


def bottom_of(model: Model, batch: Batch, rows: Rows) -> Tensor:
    """float32[n, bottom_dim]: what all heads share of each candidate; a model without a bottom gives its log-odds."""
    if isinstance(model, HasBottom):
        return model.bottom(batch, rows)
    return model.score(batch, rows).unsqueeze(1)
