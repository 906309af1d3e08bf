"""`glmix` as scorers run it: inner products of features with the sum of three rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.features.names import FIRST_FEATURES
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.served import Forward
from stream_reco.model.spec import PRIOR_LOG_ODDS, Need
from stream_reco.model.weight_shapes import Shape, check_shapes, zeros_of
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS, scales_of
from stream_reco.model.zoo.settings import GlmixSettings
from stream_reco.signals.growing import Parts

NEEDS: Final[frozenset[Need]] = frozenset({"features", "history", "context", "sampled_negatives"})
EVERYBODY = 1
"""The key of the one row of global coefficients."""
READ = FIRST_FEATURES
"""What it reads: rows of tables cannot grow, so features that joined later are none of its own."""
_SHAPES: dict[str, Shape] = {"mean": (len(READ),), "variance": (len(READ),), "batches": (), "least_variance": ()}
_JOINED_LATER = "least_variance"
"""Networks of releases up to 0.2.0 do not have it; it is 0 there."""


class GlmixServed:
    """Each row holds a coefficient for each feature, and an intercept."""

    name: ClassVar[str] = "glmix"
    Settings: ClassVar[type[GlmixSettings]] = GlmixSettings
    bottom_dim = 1

    def __init__(self, settings: GlmixSettings) -> None:
        self.settings, self.needs = settings, NEEDS
        self.dims = dict.fromkeys(("everybody", "user", "item"), len(READ) + 1)
        self.load(self.zeros())

    def zeros(self) -> Parts:
        """Weights that fit, and say nothing."""
        return zeros_of(_SHAPES)

    def load(self, weights: Parts) -> None:
        """Take over means and variances."""
        weights = {_JOINED_LATER: np.zeros((), dtype=np.float32), **weights}
        check_shapes(_SHAPES, weights)
        self._mean, self._slopes = scales_of(weights)

    def requests(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[g, coefficients] of the users, those for everybody among them."""
        everybody = tables["everybody"].lookup(np.array([EVERYBODY], dtype=np.int64))
        shared: NDArray[np.float32] = tables["user"].lookup(batch.user_keys) + everybody
        return shared

    def score(
        self, requests: NDArray[np.float32], batch: Batch, tables: Mapping[str, Lookup], *, bottom: bool = False
    ) -> Forward:
        """Log-odds of the candidates, which are all that heads read."""
        x = (batch.dense[:, : len(READ)] - self._mean) * self._slopes
        np.clip(x, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=x)
        coefficients = tables["item"].lookup(batch.item_keys)
        coefficients += requests[batch.owners]
        odds = np.einsum("nd,nd->n", coefficients[:, :-1], x) + coefficients[:, -1] + np.float32(PRIOR_LOG_ODDS)
        return Forward(odds, odds[:, None] if bottom else None)
