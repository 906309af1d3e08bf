"""Candidates that the signals themselves propose: trending, co-visited, popular in the context, fresh."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class _Scratch(NamedTuple):
    """Where candidates are collected; used again by later calls."""

    found: NDArray[np.int32]
    """int32[limit]: their slots."""
    sources: NDArray[np.int32]
    """int32[limit]: the bits of their sources."""
    places: NDArray[np.int32]
    """int32[at least as many as slots]: where a slot is in `found`; all −1 before and after a call."""


class ProposalLists(NamedTuple):
    """What the signals propose from."""

    trends: Trends
    pairs: Lists
    """Co-visits by item slot."""
    popular: Lists
    """Popular items by context value."""
    available: NDArray[np.bool_]
    """bool[slots]: items that may be proposed."""


_PlainLists = tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any], ...], tuple[NDArray[Any], ...], NDArray[np.bool_]]
"""`ProposalLists` without its names, which take numba three times as long to read."""


class Asked(NamedTuple):
    """What a request proposes from, and what it must not be offered."""

    recent: NDArray[np.int32]
    """int32[RECENT]: the user's newest items, newest first, −1 behind the last."""
    values: NDArray[np.int32]
    """int32[fields]: numbers of the context values, −1 where absent."""
    blocked: NDArray[np.int32]
    """int32[m]: slots that are never proposed."""
    extra: NDArray[np.int32]
    """int32[m]: proposals of other sources, −1 is skipped."""
    extra_sources: NDArray[np.int32]
    """int32[m]: the bits of their sources."""


@njit(cache=True, nogil=True)
def _propose(slot: int, source: int, available: NDArray[np.bool_], scratch: _Scratch, count: int) -> int:
    """Add a slot to the candidates, or its source to the candidate that it already is."""
    if slot >= available.shape[0]:
        return count
    place = scratch.places[slot]
    if place >= 0:
        scratch.sources[place] |= source
    elif place == EMPTY and available[slot] and count < scratch.found.shape[0]:
        scratch.places[slot] = count
        scratch.found[count] = slot
        scratch.sources[count] = source
        return count + 1
    return count


@njit(cache=True, nogil=True)
def _propose_all(
    slots: NDArray[np.int32], source: int, available: NDArray[np.bool_], scratch: _Scratch, count: int
) -> int:
    for slot in slots:
        if slot < 0:
            break
        count = _propose(slot, source, available, scratch, count)
    return count


@njit(cache=True, nogil=True)
def _propose_lists(
    lists: Lists,
    rows: NDArray[np.int32],
    quota: int,
    source: int,
    available: NDArray[np.bool_],
    scratch: _Scratch,
    count: int,
) -> int:
    """Propose the first `quota` keys of each of the rows; a negative row is skipped."""
    for row in rows:
        if 0 <= row < lists.keys.shape[0]:
            count = _propose_all(lists.keys[row, :quota], source, available, scratch, count)
    return count


@njit(cache=True, nogil=True)
def _mark(slots: NDArray[np.int32], mark: int, places: NDArray[np.int32]) -> None:
    for slot in slots:
        if 0 <= slot < places.shape[0]:
            places[slot] = mark


@njit(cache=True, nogil=True)
def gather(
    plain_lists: _PlainLists,
    plain_asked: tuple[NDArray[np.int32], ...],
    quotas: NDArray[np.int32],
    plain_scratch: tuple[NDArray[np.int32], ...],
) -> int:
    """Fill the scratch space with distinct slots and the bits of their sources; returns their number.

    `plain_lists`, `plain_asked` and `plain_scratch` are `ProposalLists`, `Asked` and `_Scratch` as plain tuples.
    `quotas` int32[4]: how many each trending list, co-visit list, context list and the fresh list may propose.
    """
    trends, available = Trends(*plain_lists[0]), plain_lists[3]
    lists = ProposalLists(trends, Lists(*plain_lists[1]), Lists(*plain_lists[2]), available)
    asked, scratch = Asked(*plain_asked), _Scratch(*plain_scratch)
    _mark(asked.blocked, _BLOCKED, scratch.places)
    count = 0
    for place in range(asked.extra.shape[0]):
        if asked.extra[place] >= 0:
            count = _propose(asked.extra[place], asked.extra_sources[place], available, scratch, count)
    for kind in range(trends.trending.shape[0]):
        count = _propose_all(trends.trending[kind, : quotas[0]], TRENDING, available, scratch, count)
    count = _propose_lists(lists.pairs, asked.recent[:PAIR_SEEDS], quotas[1], COVISIT, available, scratch, count)
    count = _propose_lists(lists.popular, asked.values, quotas[2], CONTEXTUAL, available, scratch, count)
    count = _propose_all(trends.fresh[: quotas[3]], FRESH, available, scratch, count)
    _mark(scratch.found[:count], EMPTY, scratch.places)
    _mark(asked.blocked, EMPTY, scratch.places)
    return int(count)


class Gatherer:
    """`gather` with scratch space that is used again; any number of threads may call it."""

    def __init__(self, limit: int, quotas: tuple[int, int, int, int]) -> None:
        """At most `limit` candidates; `quotas` as `gather` takes them. Raises ValueError where one is negative."""
        if limit < 0 or min(quotas) < 0:
            raise ValueError(f"limit {limit} and quotas {quotas} must not be negative; 0 leaves a source out")
        self._limit = limit
        self._quotas = np.array(quotas, dtype=np.int32)
        # Kernels run concurrently, so no two calls may hold the same scratch.
        self._spare: list[_Scratch] = []

    def __call__(self, lists: ProposalLists, asked: Asked) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Slots int32[n] and source bits int32[n] of the candidates."""
        scratch = self._take(len(lists.available))
        plain = (tuple(lists.trends), tuple(lists.pairs), tuple(lists.popular), lists.available)
        count = gather(plain, tuple(asked), self._quotas, tuple(scratch))
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
