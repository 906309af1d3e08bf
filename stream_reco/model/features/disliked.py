"""How like the items that the user disliked a candidate is: in the users who acted on both, and in its features."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import start_of
from stream_reco.model.features.neighbours import log_cosine, shared_users
from stream_reco.signals.dislikes import COMPARED
from stream_reco.signals.observe import PlainCounts, named
from stream_reco.signals.shared_features import largest_shared_features
from stream_reco.signals.signals import Signals

_DISLIKED = start_of("disliked")


@njit(cache=True, nogil=True)
def _user_columns(
    plain_counts: PlainCounts,
    disliked: NDArray[np.int32],
    slots: NDArray[np.int32],
    now: int,
    out: NDArray[np.float32],
) -> None:
    """Fill the logarithms of the cosines with the items that the user disliked: all together, and the largest."""
    found = shared_users(named(plain_counts), disliked, slots, now)
    for place in range(slots.shape[0]):
        if found[place, 2] > 0.0:
            out[place, _DISLIKED] = log_cosine(found[place, 0])
            out[place, _DISLIKED + 1] = log_cosine(found[place, 1])


def disliked_columns(
    signals: Signals, disliked: NDArray[np.int32], slots: NDArray[np.int32], now: int, out: NDArray[np.float32]
) -> None:
    """Fill what the candidates `slots` int32[n] share with the newest of the slots `disliked` int32[d], as of `now`.

    An item shares nothing with itself here, so that the dislike of an item does not tell its own label.
    """
    compared = disliked[:COMPARED]
    _user_columns(signals.plain_counts, compared, slots, now, out)
    out[:, _DISLIKED + 2] = largest_shared_features(signals.catalogue, slots, compared)
