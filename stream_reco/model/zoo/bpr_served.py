"""`bpr` as scorers run it: inner products of a user's vector with items', from scores to log-odds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.served import Forward
from stream_reco.model.spec import PRIOR_LOG_ODDS, Need
from stream_reco.model.weight_shapes import Shape, check_shapes, zeros_of
from stream_reco.model.zoo.settings import BprSettings
from stream_reco.signals.growing import Parts

NEEDS: Final[frozenset[Need]] = frozenset({"sampled_negatives"})
PACE = 20.0
"""The two numbers of the calibration move so much faster than the weights of a network: all examples agree on them."""
_SHAPES: dict[str, Shape] = {"log_scale": (), "offset": ()}


class BprServed:
    """A row of "item" is a vector and a bias, a row of "user" a vector."""

    name: ClassVar[str] = "bpr"
    Settings: ClassVar[type[BprSettings]] = BprSettings
    item_table = "item"
    bottom_dim = 1

    def __init__(self, settings: BprSettings) -> None:
        self.settings, self.needs = settings, NEEDS
        self.vector_dim = settings.dim + 1
        self.dims = {"item": settings.dim + 1, "user": settings.dim}
        self.load(self.zeros())

    def zeros(self) -> Parts:
        """Weights that fit, and say nothing."""
        return zeros_of(_SHAPES)

    def load(self, weights: Parts) -> None:
        """Take over the calibration."""
        check_shapes(_SHAPES, weights)
        self._scale = np.exp(np.float32(PACE) * weights["log_scale"])
        self._offset = np.float32(PACE) * weights["offset"] + np.float32(PRIOR_LOG_ODDS)

    def requests(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[g, dim + 1]: the users' vectors, and a one that takes an item's bias in."""
        users = tables["user"].lookup(batch.user_keys)
        return np.concatenate([users, np.ones((len(users), 1), dtype=np.float32)], axis=1)

    def user_vectors(self, requests: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[g, dim + 1]: as they were read."""
        return requests

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, dim + 1]: rows as they are."""
        return item_rows

    def score(
        self, requests: NDArray[np.float32], batch: Batch, tables: Mapping[str, Lookup], *, bottom: bool = False
    ) -> Forward:
        """Log-odds of the candidates, which are all that heads read."""
        scores = np.einsum("nd,nd->n", requests[batch.owners], tables["item"].lookup(batch.item_keys))
        odds: NDArray[np.float32] = self._scale * scores + self._offset
        return Forward(odds, odds[:, None] if bottom else None)
