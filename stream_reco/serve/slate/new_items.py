"""Which candidates are new and already acted on: the model has hardly seen any like them, people have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import Counters, decayed_at
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, HOUR_MS

_NEW_MS = HOUR_MS
"""An item is new for this long (ms) after its first event."""
_LEAST_ACTIONS = 5
"""Actions from which on a new item may be shown ahead of the model: fewer can be one person's."""
_LATELY = 2
"""How many half-lives, from the shortest on, tell how old actions are: those of 5 and of 15 minutes."""
_AGE_MS = 1.0 / (1.0 / ACTION_HALF_LIVES_MS[0] - 1.0 / ACTION_HALF_LIVES_MS[1])
"""By so much (ms) an action ages while its two counts come apart by a factor of two."""
_LEAST_AGE_MS = 1_000.0
"""Added to the mean age of actions (ms): events of one second are of one moment."""


def new_items(items: Counters, slots: NDArray[np.int32], now: int) -> NDArray[np.int64]:
    """int64[m]: indices into candidates `slots` int32[n] of those first seen within the hour before `now` (ms).

    Only items with five actions or more. Those come first that are gaining fastest: most actions for their mean age,
    which the ratio of two decayed counts tells. So twenty clicks of this second come before two hundred of a quarter of
    an hour, and before the twenty of the item that was new a moment ago.
    """
    first = items.first_seen[slots]
    new = np.flatnonzero((first > now - _NEW_MS) & (items.totals[slots] >= _LEAST_ACTIONS))
    if not len(new):
        return new
    lately = decayed_at(items, slots[new], _LATELY, now)
    age = np.maximum(0.0, np.log2(lately[:, 1] / lately[:, 0])) * _AGE_MS
    order: NDArray[np.int64] = new[np.argsort(-lately[:, 0] / (age + _LEAST_AGE_MS), kind="stable")]
    return order
