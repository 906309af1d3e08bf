"""What the model would read at this moment, put together by the trainer's side of the loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id, key_of
from stream_reco.model.features.kernels import feature_matrix
from stream_reco.model.inputs import Inputs, history_inputs
from stream_reco.signals.context import Context
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import RECENT
from stream_reco.signals.signals import Signals
from stream_reco.train.negative_sampler import NegativeSampler

NOBODY_RECENT = np.full(RECENT, -1, dtype=np.int32)
NOBODY_TIMES = np.zeros(RECENT, dtype=np.int64)


class FeatureBuilder:
    """Reads the trainer's own signals and histories as they are now."""

    def __init__(self, signals: Signals, histories: Histories, sampler: NegativeSampler) -> None:
        self._signals = signals
        self._histories = histories
        self._sampler = sampler

    def recent(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The newest actions of a user's row, copied: slots int32[RECENT] and times int64[RECENT] in ms."""
        if row < 0:
            return NOBODY_RECENT, NOBODY_TIMES
        return self._histories.items[row].copy(), self._histories.times[row].copy()

    def impression(self, user_id: Id, slot: int, context: Context, now: int, before: int | None = None) -> bytes:
        """`Inputs` of one shown item; with `before` (ms) as if the user had done nothing from then on."""
        row = self._histories.row_of(user_id)
        recent, times = self.recent(row) if before is None else _newest(*self._histories.before(row, before))
        slots = np.array([slot], dtype=np.int32)
        return self._inputs(user_id, slots, np.ones(1, dtype=np.float32), recent, times, context, now)

    def action(
        self, user_id: Id, slot: int, context: Context, now: int, rng: np.random.Generator, before: int | None = None
    ) -> bytes:
        """`Inputs` of an action without an impression: the item, and negatives drawn with `rng`.

        With `before` (ms) as if the user had done nothing from then on.
        """
        row = self._histories.row_of(user_id)
        if before is None:
            (recent, times), seen = self.recent(row), self._histories.seen(row)
        else:
            seen, all_times = self._histories.before(row, before)
            recent, times = _newest(seen, all_times)
        slots, rates = self._sampler.sample(self._signals, slot, recent, seen, context, rng)
        return self._inputs(user_id, slots, rates, recent, times, context, now)

    def _inputs(
        self,
        user_id: Id,
        slots: NDArray[np.int32],
        rates: NDArray[np.float32],
        recent: NDArray[np.int32],
        times: NDArray[np.int64],
        context: Context,
        now: int,
    ) -> bytes:
        keys = self._signals.catalogue.keys
        history_keys, history_ages = history_inputs(keys, recent, times, now)
        dense = feature_matrix(self._signals, recent, times, context, now, slots)
        return Inputs(
            key_of(user_id, "user"), context.keys, history_keys, history_ages, keys[slots], dense, rates
        ).to_bytes()


def _newest(slots: NDArray[np.int32], times: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The first RECENT of them, as `recent` gives them."""
    recent, newest = NOBODY_RECENT.copy(), NOBODY_TIMES.copy()
    known = min(len(slots), RECENT)
    recent[:known], newest[:known] = slots[:known], times[:known]
    return recent, newest
