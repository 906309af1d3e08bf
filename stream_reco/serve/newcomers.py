"""Which candidates are new and already acted on: the model has hardly seen any like them, people have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import DECAY_RATES, Counters
from stream_reco.signals.settings import HOUR_MS

_NEW_MS = HOUR_MS
_LEAST_ACTIONS = 5
_SHORTEST = 0
"""The place of the shortest half-life among the decayed counters."""


def newcomers(items: Counters, slots: NDArray[np.int32], now: int) -> NDArray[np.int64]:
    """int64[m]: indices into candidates `slots` int32[n] of those first seen within the hour before `now` (ms).

    Only items with five actions or more; those with most actions lately come first.
    """
    first = items.first_seen[slots]
    new = np.flatnonzero((first > now - _NEW_MS) & (items.totals[slots] >= _LEAST_ACTIONS))
    mine = slots[new]
    fading = np.exp2(-np.maximum(0, now - items.stamps[mine]) * DECAY_RATES[_SHORTEST])
    order: NDArray[np.int64] = new[np.argsort(-items.decayed[mine, _SHORTEST] * fading, kind="stable")]
    return order
