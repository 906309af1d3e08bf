"""Which candidates are new and already acted on: the model has hardly seen any like them, people have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import Counters, decayed_at
from stream_reco.signals.settings import HOUR_MS

_NEW_MS = HOUR_MS
"""An item is new for this long (ms) after its first event."""
_LEAST_ACTIONS = 5
"""Actions from which on a new item may be shown ahead of the model: fewer can be one person's."""
_LATELY = 1
"""How many half-lives, from the shortest on, are read to order new items: that of five minutes."""


def new_items(items: Counters, slots: NDArray[np.int32], now: int) -> NDArray[np.int64]:
    """int64[m]: indices into candidates `slots` int32[n] of those first seen within the hour before `now` (ms).

    Only items with five actions or more; those with most actions lately come first.
    """
    first = items.first_seen[slots]
    new = np.flatnonzero((first > now - _NEW_MS) & (items.totals[slots] >= _LEAST_ACTIONS))
    lately = decayed_at(items, slots[new], _LATELY, now)[:, 0]
    order: NDArray[np.int64] = new[np.argsort(-lately, kind="stable")]
    return order
