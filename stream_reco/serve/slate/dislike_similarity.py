"""How much like the items that a user dislikes others are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.counters import decayed_at
from stream_reco.signals.decayed_lists import EMPTY, Lists, decay_of
from stream_reco.signals.dislikes import COMPARED
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS, PAIR_HALF_LIVES_MS
from stream_reco.signals.shared_features import largest_shared_features
from stream_reco.signals.signals import Signals

_WEEK = len(PAIR_HALF_LIVES_MS) - 1
_WEEK_OF_ACTIONS = ACTION_HALF_LIVES_MS.index(PAIR_HALF_LIVES_MS[_WEEK]) + 1
_LEAST_LEFT = 1e-6
"""Of the odds of an item that is just like a disliked one: the logarithm of nothing is no number."""
_LEAST_DIVISOR = 1e-12
"""What a number of actions of 0 is divided by in its place."""


def dislike_similarity(
    served: ServingState, slots: NDArray[np.int32], disliked: NDArray[np.int32], now: int
) -> NDArray[np.float32]:
    """float32[n] in 0..1: the similarity of each of `slots` int32[n] to the one of `disliked` that it is most like.

    It is the cosine of their vectors, where both have one and it is positive; else the larger of what they share in
    features and in users as of `now` (ms). Of `disliked` int32[d], newest first, the first `COMPARED` count. To be
    called inside `replica.reading()`.
    """
    alike = np.zeros(len(slots), dtype=np.float32)
    disliked = disliked[disliked < served.signals.catalogue.size][:COMPARED]
    if not len(slots) or not len(disliked):
        return alike
    mine, theirs = (served.index.directions_of(some) for some in (slots, disliked))
    known, known_theirs = mine.any(axis=1), theirs.any(axis=1)
    if known.any() and known_theirs.any():
        alike[known] = (mine[known] @ theirs[known_theirs].T).max(axis=1)
    for these, those in ((~known, disliked), (known, disliked[~known_theirs])):
        if these.any() and len(those):
            shared = np.maximum(
                largest_shared_features(served.signals.catalogue, slots[these], those),
                _users(served.signals, slots[these], those, now),
            )
            alike[these] = np.maximum(alike[these], shared)
    return np.clip(alike, 0.0, 1.0)


def dislike_shift(
    served: ServingState, slots: NDArray[np.int32], disliked: NDArray[np.int32], now: int, penalty: float
) -> NDArray[np.float32] | None:
    """float32[n], on the log-odds by which `slots` int32[n] are ordered: log(1 − `penalty` · similarity); None: 0."""
    if not penalty or not len(disliked):
        return None
    left = 1.0 - penalty * dislike_similarity(served, slots, disliked, now)
    shift: NDArray[np.float32] = np.log(np.maximum(left, _LEAST_LEFT))
    return shift


def _users(signals: Signals, slots: NDArray[np.int32], disliked: NDArray[np.int32], now: int) -> NDArray[np.float32]:
    """Co-visits of an item after a disliked one over the root of the actions on both, all decayed by the week.

    The cosine of item-to-item collaborative filtering (Linden, Smith and York, "Amazon.com Recommendations", 2003).
    """
    items = signals.counts.items
    acted = decayed_at(items, slots, _WEEK_OF_ACTIONS, now)[:, -1]
    acted_on_disliked = decayed_at(items, disliked, _WEEK_OF_ACTIONS, now)[:, -1]
    alike = np.zeros(len(slots), dtype=np.float32)
    _together(tuple(signals.counts.pairs), (disliked, acted_on_disliked), (slots, acted), now, alike)
    return alike


@njit(cache=True, nogil=True)
def _together(
    plain_pairs: tuple[NDArray[Any], ...],
    disliked: tuple[NDArray[np.int32], NDArray[np.float64]],
    candidates: tuple[NDArray[np.int32], NDArray[np.float64]],
    now: int,
    out: NDArray[np.float32],
) -> None:
    """Fill `_users`; of items their slots, and the actions on each as of `now`."""
    pairs, order = Lists(*plain_pairs), np.argsort(candidates[0])
    ascending = candidates[0][order]
    for place in range(disliked[0].shape[0]):
        number, fade = pairs.numbers[disliked[0][place]], decay_of(pairs, disliked[0][place], _WEEK, now)
        for entry in range(pairs.keys.shape[1]):
            key = pairs.keys[number, entry]
            if key == EMPTY:
                break
            at = np.searchsorted(ascending, key)
            while at < ascending.shape[0] and ascending[at] == key:
                actions = math.sqrt(candidates[1][order[at]] * disliked[1][place])
                share = pairs.weights[number, entry, _WEEK] * fade / max(actions, _LEAST_DIVISOR)
                out[order[at]] = max(out[order[at]], np.float32(min(share, 1.0)))
                at += 1
