"""What a candidate shares with the items of a history: users who acted on both."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import start_of
from stream_reco.signals.decayed_lists import EMPTY, decay_of
from stream_reco.signals.observe import Counts, stands_before

_NEIGHBOURS = start_of("neighbours")
_LEAST_COSINE = 1e-2
"""Added to a cosine before the logarithm: less than a hundredth tells nothing."""
_COSINE_OFFSET = 4.6
"""Added to the logarithm of a cosine: log(1e-2) = −4.6, so a cosine of 0 gives about 0."""


@njit(cache=True, nogil=True)
def log_cosine(cosine: float) -> float:
    """The logarithm of a cosine or of a sum of such, 0 where it is 0."""
    return math.log(cosine + _LEAST_COSINE) + _COSINE_OFFSET


@njit(cache=True, nogil=True)
def shared_users(counts: Counts, others: NDArray[np.int32], slots: NDArray[np.int32], now: int) -> NDArray[np.float64]:
    """float64[n, 3]: the users that each of `slots` int32[n] shares with others int32[m], up to the first −1 in them.

    The sum of the cosines with each distinct one, the largest, and the sum of users as of `now` (ms). A cosine is
    shared users over the geometric mean of the users of both, as far as users act once (Sarwar et al., WWW 2001,
    §3.1.1).
    """
    shared, totals = counts.together, counts.items.totals
    found = np.zeros((slots.shape[0], 3), dtype=np.float64)
    if others.shape[0] == 0 or others[0] < 0:
        return found
    order = np.argsort(slots)
    ascending = slots[order]
    for place_of_other in range(others.shape[0]):
        row = others[place_of_other]
        if row < 0:
            break
        if stands_before(others, place_of_other):
            continue
        fade, number = decay_of(shared, row, 0, now), shared.numbers[row]
        for place in range(shared.keys.shape[1]):
            key = shared.keys[number, place]
            if key == EMPTY:
                break
            at = np.searchsorted(ascending, key)
            if at == ascending.shape[0] or ascending[at] != key:
                continue
            users = shared.weights[number, place, 0] * fade
            cosine = min(1.0, users / math.sqrt(max(1.0, totals[row]) * max(1.0, totals[key])))
            while at < ascending.shape[0] and ascending[at] == key:
                sums = found[order[at]]
                sums[0] += cosine
                sums[1] = max(sums[1], cosine)
                sums[2] += users
                at += 1
    return found


@njit(cache=True, nogil=True)
def neighbour_columns(
    counts: Counts, recent: NDArray[np.int32], slots: NDArray[np.int32], now: int, out: NDArray[np.float32]
) -> None:
    """Fill how many users all candidates share with the items of the history, and the cosines of that.

    However long ago the user acted on an item counts for nothing here: the ranker has that besides.
    """
    found = shared_users(counts, recent, slots, now)
    for place in range(slots.shape[0]):
        if found[place, 2] > 0.0:
            out[place, _NEIGHBOURS] = log_cosine(found[place, 0])
            out[place, _NEIGHBOURS + 1] = log_cosine(found[place, 1])
            out[place, _NEIGHBOURS + 2] = math.log(1.0 + found[place, 2])
