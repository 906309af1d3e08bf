"""What the model reads of a present event, put together by the trainer's side of the loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id, key_of
from stream_reco.model.assemble import RequestState, request_inputs, with_candidates
from stream_reco.model.spec import Need
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.context import Context
from stream_reco.signals.dislikes import Dislikes
from stream_reco.signals.exposures import Exposures
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import RECENT
from stream_reco.signals.signals import Signals
from stream_reco.train.negative_sampler import NegativeSampler

NOBODY_RECENT = np.full(RECENT, -1, dtype=np.int32)
NOBODY_TIMES = np.zeros(RECENT, dtype=np.int64)


class KnownUsers(NamedTuple):
    """All that is known of users."""

    histories: Histories
    exposures: Exposures
    dislikes: Dislikes
    profiles: Profiles


class FeatureBuilder:
    """Reads the trainer's own signals and users as they are now, as far as the model `needs` them."""

    def __init__(self, signals: Signals, users: KnownUsers, sampler: NegativeSampler, needs: frozenset[Need]) -> None:
        self._signals = signals
        self._sampler = sampler
        self._needs = needs
        self._histories, self._exposures, self._dislikes, self._profiles = users

    def recent(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The newest actions of a user's row, copied: slots int32[RECENT] and times int64[RECENT] in ms."""
        if row < 0:
            return NOBODY_RECENT, NOBODY_TIMES
        return self._histories.items[row].copy(), self._histories.times[row].copy()

    def impression(self, user_id: Id, slot: int, context: Context, now: int, before: int | None = None) -> bytes:
        """`Inputs` of one shown item; with `before` (ms) as if the user had done nothing from then on."""
        row = self._histories.row_of(user_id)
        recent, times = self.recent(row) if before is None else _newest(*self._histories.before(row, before))
        shown = self._exposures.of(user_id) if before is None else self._exposures.before(user_id, slot, before)
        disliked = self._dislikes.of(user_id, before)
        state = RequestState(
            key_of(user_id, "user"), recent, times, context, now, shown, disliked, self._profiles.values(user_id, now)
        )
        return self._inputs(state, np.array([slot], dtype=np.int32), None)

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
        shown, disliked = self._exposures.of(user_id), self._dislikes.of(user_id, before)
        state = RequestState(
            key_of(user_id, "user"), recent, times, context, now, shown, disliked, self._profiles.values(user_id, now)
        )
        if "sampled_negatives" not in self._needs:
            return self._inputs(state, np.array([slot], dtype=np.int32), None)
        slots, rates = self._sampler.sample(self._signals, slot, recent, seen, context, rng)
        return self._inputs(state, slots, rates)

    def _inputs(self, state: RequestState, slots: NDArray[np.int32], rates: NDArray[np.float32] | None) -> bytes:
        request = request_inputs(self._signals, state)
        return with_candidates(request, self._signals, state, slots, self._needs, rates).to_bytes()


def _newest(slots: NDArray[np.int32], times: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The first RECENT of them, as `recent` gives them."""
    recent, newest = NOBODY_RECENT.copy(), NOBODY_TIMES.copy()
    known = min(len(slots), RECENT)
    recent[:known], newest[:known] = slots[:known], times[:known]
    return recent, newest
