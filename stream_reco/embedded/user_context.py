"""What is known of a user now, read under the lock that the learning thread holds while it changes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_reco.embedded.learner import Learner
from stream_reco.events import Id, key_of
from stream_reco.serve.slate.request import UserContext
from stream_reco.train.feature_builder import NOBODY_RECENT, NOBODY_TIMES

_NO_SLOTS = np.empty(0, dtype=np.int32)
_NO_KEYS = np.empty(0, dtype=np.int64)


def user_contexts(learner: Learner, seed: int) -> Callable[[Id, int], UserContext]:
    """A function of user id and time (ms) that gives a user's context; it draws medoids by `seed` and earlier calls."""
    rng = np.random.default_rng(seed)

    def context_of(user_id: Id, now: int) -> UserContext:
        state = learner.state
        key = key_of(user_id, "user")
        with state.lock:
            histories, shown = state.histories, state.exposures.of(user_id)
            row, disliked = histories.row_of(user_id), state.dislikes.of(user_id)
            profile = state.profiles.values(user_id, now)
            if row < 0:
                return UserContext(key, NOBODY_RECENT, NOBODY_TIMES, _NO_SLOTS, _NO_KEYS, shown, disliked, profile)
            return UserContext(
                key,
                histories.items[row].copy(),
                histories.times[row].copy(),
                histories.seen(row),
                learner.interests.sample(user_id, None, rng, now),
                shown,
                disliked,
                profile,
            )

    return context_of
