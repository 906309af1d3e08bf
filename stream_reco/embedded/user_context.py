"""What is known of a user at this moment, read beside the thread that learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_reco.embedded.learner import Learner
from stream_reco.events import Id, key_of
from stream_reco.serve.slate.request import UserContext
from stream_reco.train.feature_builder import NOBODY_RECENT, NOBODY_TIMES

_NO_SLOTS = np.empty(0, dtype=np.int32)
_NO_KEYS = np.empty(0, dtype=np.int64)


def user_contexts(learner: Callable[[], Learner], seed: int) -> Callable[[Id, int], UserContext]:
    """A function that gives a user's moment; which medoids it draws depends on the seed and the calls before."""
    rng = np.random.default_rng(seed)

    def moment(user_id: Id, now: int) -> UserContext:
        source = learner()
        key = key_of(user_id, "user")
        with source.user_lock:
            row = source.histories.row_of(user_id)
            if row < 0:
                return UserContext(key, NOBODY_RECENT, NOBODY_TIMES, _NO_SLOTS, _NO_KEYS)
            medoids = source.interests.sample(user_id, None, rng, now)
            return UserContext(
                key,
                source.histories.items[row].copy(),
                source.histories.times[row].copy(),
                source.histories.seen(row),
                medoids,
            )

    return moment
