"""Negatives for actions that came without impressions: what the user could have acted on instead.

Two samples, as at Avito and in Yi et al. (2019): items that the signals propose for the very request (hard), and
active items with probability ∝ √popularity. With each candidate goes its rate, the expected number of times that the
two samples include it; log-odds minus log rate is what a model of the sample fits, so the log-odds stay those of the
whole population (Covington et al. 2016 after Jean et al. 2015, §3.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.candidates import Gatherer
from stream_reco.signals.context import Context
from stream_reco.signals.signals import Signals
from stream_reco.train.settings import TrainSettings

_LEAST_RATE = 1e-4
_POOL = 400
_QUOTAS = (100, 40, 40, 30)
_NONE = np.empty(0, dtype=np.int32)


class NegativeSampler:
    """Draws the negatives of one action from the trainer's own signals."""

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings
        self._gather = Gatherer(_POOL, _QUOTAS)

    def sample(
        self, signals: Signals, positive: int, recent: NDArray[np.int32], seen: NDArray[np.int32], context: Context,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Slots int32[1 + n], the positive first, and their rates float32[1 + n]; all slots are distinct."""
        pool, _ = self._gather(signals.trends, signals.counts.pairs, signals.counts.popular,
                               signals.catalogue.available, recent, context.values, seen, _NONE, _NONE)
        others = pool[pool != positive]
        hard = rng.permutation(others)[: self._settings.hard_negatives]
        popular = self._draw_popular(signals, rng)
        popular = popular[(popular != positive) & ~np.isin(popular, hard) & ~np.isin(popular, seen)]
        slots = np.concatenate([[positive], hard, popular]).astype(np.int32)
        proposed = np.isin(slots, pool)
        rates = proposed * (len(hard) / max(1, len(pool)))
        rates = rates + self._settings.popular_negatives * _chances(signals, slots)
        return slots, np.clip(rates, _LEAST_RATE, 1.0).astype(np.float32)

    def _draw_popular(self, signals: Signals, rng: np.random.Generator) -> NDArray[np.int32]:
        trends = signals.trends
        if not len(trends.active):
            return _NONE
        draws = rng.random(self._settings.popular_negatives) * trends.cumulative[-1]
        drawn = trends.active[np.searchsorted(trends.cumulative, draws, side="right").clip(max=len(trends.active) - 1)]
        return np.unique(drawn)


def _chances(signals: Signals, slots: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32[n]: chance of each slot in one draw; an item newer than the trends has none."""
    chances = signals.trends.chances
    if not len(chances):
        return np.zeros(len(slots), dtype=np.float32)
    known = slots < len(chances)
    return np.where(known, chances[np.where(known, slots, 0)], np.float32(0.0))
