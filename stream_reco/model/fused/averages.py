"""Running averages of features as a fused step reads and learns them: what `Standardise` and `ClickRate` hold."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.fused.forward_kernels import learn_moments
from stream_reco.model.zoo.feature_layers import (
    ACTED,
    FIRST_ACTIONS,
    FIRST_SHOWN,
    LARGEST,
    PRIOR_ACTIONS,
    SHOWN,
    SLOWEST,
    scales_of,
)

Floats: TypeAlias = NDArray[np.float32]


class FeatureAverages:
    """The running averages of one network."""

    def __init__(self, weights: DenseWeights) -> None:
        self._averages = weights.averages

    def scales(self) -> tuple[Floats, Floats]:
        """Means and reciprocal deviations float32[features]."""
        return scales_of(self._averages, "standardise.")

    def learn(self, dense: Floats) -> None:
        """Take the features float32[n, features] of a batch in."""
        averages = self._averages
        averages["standardise.batches"] += np.float32(1.0)
        # The first hundred batches weigh alike.
        share = max(1.0 / float(averages["standardise.batches"]), SLOWEST)
        learn_moments(dense, averages["standardise.mean"], averages["standardise.variance"], share)

    def click_rate(self, dense: Floats, *, learns: bool) -> Floats | None:
        """float32[n], as `ClickRate` has it; None where nothing was shown, so that it is 0 and nothing is learned.

        With `learns` the averages take the batch in first.
        """
        shown = dense[:, SHOWN]
        if not (shown > 0.0).any():
            return None
        shown = np.expm1(np.clip(shown, 0.0, np.float32(LARGEST)))
        acted = np.minimum(np.expm1(np.clip(dense[:, ACTED], 0.0, np.float32(LARGEST))), shown)
        counts = self._averages["click_rate.counts"]
        if learns:
            batches = self._averages["click_rate.batches"]
            batches += np.float32(1.0)
            share = np.float32(max(1.0 / float(batches), SLOWEST))
            counts += share * (np.stack([acted.sum(axis=0), shown.sum(axis=0)]) - counts)
        expected = (counts[0] + np.float32(FIRST_ACTIONS)) / (counts[1] + np.float32(FIRST_SHOWN)) * shown
        odds = np.log((acted + np.float32(PRIOR_ACTIONS)) / (expected + np.float32(PRIOR_ACTIONS)))
        said: Floats = np.where(shown > 0.0, odds, np.float32(0.0)).mean(axis=1) * self._averages["click_rate.voice"]
        return said
