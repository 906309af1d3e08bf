"""Candidates that the signals themselves propose: trending, co-visited, popular in the context, fresh."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.decayed_lists import EMPTY, Lists
from stream_reco.signals.trends import Trends

TRENDING, COVISIT, CONTEXTUAL, FRESH = 1, 2, 4, 8
"""Bits of a candidate's sources; later bits are given to the sources over vectors."""
PAIR_SEEDS = 8
"""Newest items of the user whose co-visits are proposed."""
_BLOCKED = np.int32(-2)


@njit(cache=True, nogil=True)
def _propose(slot: int, source: int, places: NDArray[np.int32], available: NDArray[np.bool_], found: NDArray[np.int32],
             sources: NDArray[np.int32], count: int) -> int:
    """Add a slot to the candidates, or its source to the candidate that it already is."""
    if slot >= places.shape[0]:
        return count
    place = places[slot]
    if place >= 0:
        sources[place] |= source
    elif place == EMPTY and available[slot] and count < found.shape[0]:
        places[slot] = count
        found[count] = slot
        sources[count] = source
        return count + 1
    return count


@njit(cache=True, nogil=True)
def _propose_all(slots: NDArray[np.int32], source: int, places: NDArray[np.int32], available: NDArray[np.bool_],
                 found: NDArray[np.int32], sources: NDArray[np.int32], count: int) -> int:
    for slot in slots:
        if slot < 0:
            break
        count = _propose(slot, source, places, available, found, sources, count)
    return count


@njit(cache=True, nogil=True)
def gather(
    trends_trending: NDArray[np.int32], trends_fresh: NDArray[np.int32], pairs: Lists, popular: Lists,
    available: NDArray[np.bool_], recent: NDArray[np.int32], values: NDArray[np.int32], blocked: NDArray[np.int32],
    extra: NDArray[np.int32], extra_sources: NDArray[np.int32], quotas: NDArray[np.int32],
    places: NDArray[np.int32], found: NDArray[np.int32], sources: NDArray[np.int32],
) -> int:
    """Fill `found` int32[n] with distinct slots and `sources` int32[n] with their bits; returns their number.

    `extra` int32[m] (−1 is skipped) are proposals of other sources; `blocked` slots are never proposed. `quotas`
    int32[4]: how many each trending list, co-visit list, context list and the fresh list may propose. `places`
    int32[slots] is scratch, all −1 before and after.
    """
    for slot in blocked:
        if 0 <= slot < places.shape[0]:
            places[slot] = _BLOCKED
    count = 0
    for place in range(extra.shape[0]):
        if extra[place] >= 0:
            count = _propose(extra[place], extra_sources[place], places, available, found, sources, count)
    for kind in range(trends_trending.shape[0]):
        count = _propose_all(trends_trending[kind, : quotas[0]], TRENDING, places, available, found, sources, count)
    for slot in recent[:PAIR_SEEDS]:
        if 0 <= slot < pairs.keys.shape[0]:
            count = _propose_all(pairs.keys[slot, : quotas[1]], COVISIT, places, available, found, sources, count)
    for value in values:
        if 0 <= value < popular.keys.shape[0]:
            count = _propose_all(popular.keys[value, : quotas[2]], CONTEXTUAL, places, available, found, sources, count)
    count = _propose_all(trends_fresh[: quotas[3]], FRESH, places, available, found, sources, count)
    for place in range(count):
        places[found[place]] = EMPTY
    for slot in blocked:
        if 0 <= slot < places.shape[0]:
            places[slot] = EMPTY
    return count


class Gatherer:
    """Reusable scratch space around `gather`."""

    def __init__(self, limit: int, quotas: tuple[int, int, int, int]) -> None:
        self._found = np.empty(limit, dtype=np.int32)
        self._sources = np.empty(limit, dtype=np.int32)
        self._places = np.full(1024, EMPTY, dtype=np.int32)
        self._quotas = np.array(quotas, dtype=np.int32)

    def __call__(
        self, trends: Trends, pairs: Lists, popular: Lists, available: NDArray[np.bool_], recent: NDArray[np.int32],
        values: NDArray[np.int32], blocked: NDArray[np.int32], extra: NDArray[np.int32],
        extra_sources: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Slots int32[n] and source bits int32[n] of the candidates."""
        if len(self._places) < len(available):
            self._places = np.full(len(available), EMPTY, dtype=np.int32)
        count = gather(trends.trending, trends.fresh, pairs, popular, available, recent, values, blocked, extra,
                       extra_sources, self._quotas, self._places, self._found, self._sources)
        return self._found[:count].copy(), self._sources[:count].copy()
