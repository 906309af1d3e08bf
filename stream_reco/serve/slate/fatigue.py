"""Items that a user was shown again and again and passed over make room, from the first minute on.

The model reads how often it was as well, and learns what that means here; until then, and where it has never seen
anyone pass over so much, this rule lets a user see something else. Nobody may see the same ten items thirty times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.exposures import Exposure
from stream_reco.signals.settings import DAY_MS

FREE_TIMES = 3.0
"""So often an item is shown at no cost: people overlook things, and come back to them."""
_HALF_LIFE_MS = DAY_MS
"""What was passed over yesterday counts half: tomorrow people look again."""


def fatigue_shift(slots: NDArray[np.int32], shown: Exposure, now: int, weight: float) -> NDArray[np.float32] | None:
    """float32[n], on the log-odds by which candidates `slots` int32[n] are ordered at `now` (ms); None: no shift.

    An item that was shown m times, decayed by age, goes down by `weight` · log(1 + m − `FREE_TIMES`), if that is more.
    """
    if not len(shown.slots) or weight == 0.0:
        return None
    places, found = _matches(slots, shown.slots)
    if not len(places):
        return None
    ages = np.maximum(now - shown.times[found], 0)
    shift = np.zeros(len(slots), dtype=np.float32)
    times = shown.counts[found] * np.exp2(-ages / _HALF_LIFE_MS)
    shift[places] = -weight * np.log1p(np.maximum(times - FREE_TIMES, 0.0))
    return shift


def _matches(slots: NDArray[np.int32], shown: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices int64[m] into `slots`, and into `shown`, of the items that are in both; neither has an item twice.

    `shown` is not empty.
    """
    order = np.argsort(shown)
    at = np.searchsorted(shown, slots, sorter=order)
    found = order[np.minimum(at, len(shown) - 1)]
    places = np.flatnonzero(shown[found] == slots)
    return places, found[places]
