"""Candidates that the signals themselves propose: trending, co-visited, popular in the context, fresh."""

from __future__ import annotations

from typing import NamedTuple

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
def _propose(
    slot: int,
    source: int,
    available: NDArray[np.bool_],
    places: NDArray[np.int32],
    found: NDArray[np.int32],
    sources: NDArray[np.int32],
    count: int,
) -> int:
    """Add a slot to the candidates, or its source to the candidate that it already is."""
    if slot >= available.shape[0]:
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
def _propose_all(
    slots: NDArray[np.int32],
    source: int,
    available: NDArray[np.bool_],
    places: NDArray[np.int32],
    found: NDArray[np.int32],
    sources: NDArray[np.int32],
    count: int,
) -> int:
    for slot in slots:
        if slot < 0:
            break
        count = _propose(slot, source, available, places, found, sources, count)
    return count


@njit(cache=True, nogil=True)
def _propose_lists(
    lists: Lists,
    rows: NDArray[np.int32],
    quota: int,
    source: int,
    available: NDArray[np.bool_],
    places: NDArray[np.int32],
    found: NDArray[np.int32],
    sources: NDArray[np.int32],
    count: int,
) -> int:
    """Propose the first `quota` keys of each of the rows; a negative row is skipped."""
    for row in rows:
        if 0 <= row < lists.keys.shape[0]:
            count = _propose_all(lists.keys[row, :quota], source, available, places, found, sources, count)
    return count


@njit(cache=True, nogil=True)
def _mark(slots: NDArray[np.int32], mark: int, places: NDArray[np.int32]) -> None:
    for slot in slots:
        if 0 <= slot < places.shape[0]:
            places[slot] = mark


@njit(cache=True, nogil=True)
def gather(
    trends_trending: NDArray[np.int32],
    trends_fresh: NDArray[np.int32],
    pairs: Lists,
    popular: Lists,
    available: NDArray[np.bool_],
    recent: NDArray[np.int32],
    values: NDArray[np.int32],
    blocked: NDArray[np.int32],
    extra: NDArray[np.int32],
    extra_sources: NDArray[np.int32],
    quotas: NDArray[np.int32],
    places: NDArray[np.int32],
    found: NDArray[np.int32],
    sources: NDArray[np.int32],
) -> int:
    """Fill `found` int32[n] with distinct slots and `sources` int32[n] with their bits; returns their number.

    `extra` int32[m] (−1 is skipped) are proposals of other sources; `blocked` slots are never proposed. `quotas`
    int32[4]: how many each trending list, co-visit list, context list and the fresh list may propose. `places`
    int32[at least as many as `available`] is scratch, all −1 before and after.
    """
    _mark(blocked, _BLOCKED, places)
    count = 0
    for place in range(extra.shape[0]):
        if extra[place] >= 0:
            count = _propose(extra[place], extra_sources[place], available, places, found, sources, count)
    for kind in range(trends_trending.shape[0]):
        count = _propose_all(trends_trending[kind, : quotas[0]], TRENDING, available, places, found, sources, count)
    count = _propose_lists(pairs, recent[:PAIR_SEEDS], quotas[1], COVISIT, available, places, found, sources, count)
    count = _propose_lists(popular, values, quotas[2], CONTEXTUAL, available, places, found, sources, count)
    count = _propose_all(trends_fresh[: quotas[3]], FRESH, available, places, found, sources, count)
    _mark(found[:count], EMPTY, places)
    _mark(blocked, EMPTY, places)
    return int(count)


class _Scratch(NamedTuple):
    found: NDArray[np.int32]
    sources: NDArray[np.int32]
    places: NDArray[np.int32]


class Gatherer:
    """`gather` with scratch space that is used again; any number of threads may call it."""

    def __init__(self, limit: int, quotas: tuple[int, int, int, int]) -> None:
        """At most `limit` candidates; `quotas` as `gather` takes them. Raises ValueError where one is negative."""
        if limit < 0 or min(quotas) < 0:
            raise ValueError(f"limit {limit} and quotas {quotas} must not be negative; 0 leaves a source out")
        self._limit = limit
        self._quotas = np.array(quotas, dtype=np.int32)
        # The kernel runs beside other threads, so no two calls may hold the same scratch.
        self._spare: list[_Scratch] = []

    def __call__(
        self,
        trends: Trends,
        pairs: Lists,
        popular: Lists,
        available: NDArray[np.bool_],
        recent: NDArray[np.int32],
        values: NDArray[np.int32],
        blocked: NDArray[np.int32],
        extra: NDArray[np.int32],
        extra_sources: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Slots int32[n] and source bits int32[n] of the candidates."""
        scratch = self._take(len(available))
        count = gather(
            trends.trending,
            trends.fresh,
            pairs,
            popular,
            available,
            recent,
            values,
            blocked,
            extra,
            extra_sources,
            self._quotas,
            scratch.places,
            scratch.found,
            scratch.sources,
        )
        result = scratch.found[:count].copy(), scratch.sources[:count].copy()
        self._spare.append(scratch)
        return result

    def _take(self, slots: int) -> _Scratch:
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = _Scratch(
                np.empty(self._limit, dtype=np.int32),
                np.empty(self._limit, dtype=np.int32),
                np.empty(0, dtype=np.int32),
            )
        if len(scratch.places) < slots:
            scratch = scratch._replace(places=np.full(slots, EMPTY, dtype=np.int32))
        return scratch
