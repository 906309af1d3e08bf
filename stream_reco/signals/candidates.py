"""Candidates that the signals themselves propose: trending, co-visited, popular in the context, least shown.

For a slate, a list is gone through until it has proposed its quota of items that may be shown: what may not takes no
place. For a sample of negatives its head is enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.decayed_lists import EMPTY, Lists
from stream_reco.signals.trends import Trends

TRENDING, COVISIT, CONTEXTUAL, FRESH, NEIGHBOUR = 1, 2, 4, 8, 16
"""Bits of a candidate's sources; later bits are given to the sources over vectors."""
PAIR_SEEDS = 8
"""Newest items of the user whose co-visits are proposed."""
WINDOW = 4
"""The least shown take turns among so many times as many as one request is proposed of them."""
NO_TURN = np.array([-1, 0, 0], dtype=np.int32)
_BLOCKED = np.int32(-2)


class _Scratch(NamedTuple):
    """Where candidates are collected; used again by later calls."""

    found: NDArray[np.int32]
    """int32[limit]: their slots."""
    sources: NDArray[np.int32]
    """int32[limit]: the bits of their sources."""
    places: NDArray[np.int32]
    """int32[at least as many as slots]: where a slot is in `found`; all −1 before and after a call."""
    listed: NDArray[np.bool_]
    """bool[as many]: the slots of `ProposalLists.few`; all False before and after a call."""


_ALL = np.empty(0, dtype=np.int32)


class ProposalLists(NamedTuple):
    """What the signals propose from."""

    trends: Trends
    pairs: Lists
    """Co-visits by item slot."""
    popular: Lists
    """Popular items by context value."""
    together: Lists
    """How many users items share, by item slot."""
    available: NDArray[np.bool_]
    """bool[slots]: items that may be proposed: available ones, and where there are filters those that pass them."""
    few: NDArray[np.int32] = _ALL
    """int32[m], ascending: where any are given, only these may be proposed, whatever is `available`."""


_PlainArrays = tuple[NDArray[Any], ...]
_PlainLists = tuple[_PlainArrays, _PlainArrays, _PlainArrays, _PlainArrays, NDArray[np.bool_], NDArray[np.int32]]
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
    turn: NDArray[np.int32]
    """int32[3]: the number of the request among those that take turns, the slot where its share of all items begins,
    and how many candidates it wants at least. With `NO_TURN` it gets the heads of all lists, less what is blocked.
    """


@njit(cache=True, nogil=True)
def _allows(slot: int, available: NDArray[np.bool_], scratch: _Scratch) -> bool:
    """Whether the slot may be proposed, or is proposed already."""
    return bool(0 <= slot < available.shape[0] and available[slot] and scratch.places[slot] != _BLOCKED)


@njit(cache=True, nogil=True)
def _propose(slot: int, source: int, scratch: _Scratch, count: int) -> int:
    """Add an allowed slot to the candidates, or its source to the candidate that it already is."""
    place = scratch.places[slot]
    if place >= 0:
        scratch.sources[place] |= source
    elif count < scratch.found.shape[0]:
        scratch.places[slot] = count
        scratch.found[count] = slot
        scratch.sources[count] = source
        return count + 1
    return count


@njit(cache=True, nogil=True)
def _propose_first(
    slots: NDArray[np.int32], quota: int, source: int, available: NDArray[np.bool_], scratch: _Scratch, count: int
) -> int:
    """Propose the first `quota` of the slots that are allowed; the list ends at −1."""
    for slot in slots:
        if slot < 0 or quota == 0:
            break
        if _allows(slot, available, scratch):
            count = _propose(slot, source, scratch, count)
            quota -= 1
    return count


@njit(cache=True, nogil=True)
def _propose_lists(
    lists: Lists,
    rows: NDArray[np.int32],
    quota: tuple[int, int],
    source: int,
    available: NDArray[np.bool_],
    scratch: _Scratch,
    count: int,
) -> int:
    """Propose the first allowed keys of each of the rows, as many of as many as `quota` says; skips negative rows."""
    for row in rows:
        if 0 <= row < lists.numbers.shape[0]:
            keys = lists.keys[lists.numbers[row], : quota[1]]
            count = _propose_first(keys, quota[0], source, available, scratch, count)
    return count


@njit(cache=True, nogil=True)
def _propose_heaviest(
    lists: Lists, rows: NDArray[np.int32], quota: int, available: NDArray[np.bool_], scratch: _Scratch, count: int
) -> int:
    """Propose the `quota` allowed keys of each of the rows that weigh most; skips negative rows."""
    for row in rows:
        if not 0 <= row < lists.numbers.shape[0]:
            continue
        keys = lists.keys[lists.numbers[row]]
        left = lists.weights[lists.numbers[row], :, 0].copy()
        for _ in range(quota):
            best = -1
            for place in range(left.shape[0]):
                if keys[place] == EMPTY:
                    break
                heavier = left[place] > (left[best] if best >= 0 else 0.0)
                if heavier and _allows(keys[place], available, scratch):
                    best = place
            if best < 0:
                break
            left[best] = 0.0
            count = _propose(keys[best], NEIGHBOUR, scratch, count)
    return count


@njit(cache=True, nogil=True)
def _propose_least_shown(
    slots: NDArray[np.int32], turn: int, quota: int, available: NDArray[np.bool_], scratch: _Scratch, count: int
) -> tuple[int, int]:
    """Propose `quota` of the least shown, request after request the next ones; returns how many are left to propose.

    The first `WINDOW` times the quota take turns; what is behind them comes where too few of those are allowed.
    """
    window = 0
    while window < min(WINDOW * quota, slots.shape[0]) and slots[window] >= 0:
        window += 1
    for place in range(slots.shape[0]):
        if quota == 0 or slots[place] < 0:
            break
        slot = slots[(turn + place) % window if place < window else place]
        if _allows(slot, available, scratch):
            count = _propose(slot, FRESH, scratch, count)
            quota -= 1
    return count, quota


@njit(cache=True, nogil=True)
def _propose_in_turn(first: int, quota: int, least: int, lists: ProposalLists, scratch: _Scratch, count: int) -> int:
    """Propose the next `quota` allowed slots from `first` on, and further ones up to `least` candidates."""
    available, few = lists.available, lists.few
    slots = few.shape[0] or available.shape[0]
    begin = np.searchsorted(few, first) if few.shape[0] else first
    for place in range(slots):
        if quota <= 0 and count >= least:
            break
        slot = (begin + place) % slots
        slot = few[slot] if few.shape[0] else slot
        if _allows(slot, available, scratch):
            count = _propose(slot, FRESH, scratch, count)
            quota -= 1
    return count


@njit(cache=True, nogil=True)
def _propose_fresh(lists: ProposalLists, turn: NDArray[np.int32], quota: int, scratch: _Scratch, count: int) -> int:
    """Half of the quota from the least shown, the rest in turn; then the least shown until there are enough."""
    listed, available = lists.trends.fresh, lists.available
    if quota == 0:
        return count
    if turn[0] < 0:
        return int(_propose_first(listed[:quota], quota, FRESH, available, scratch, count))
    in_turn = quota // 2
    count, left = _propose_least_shown(listed, turn[0] * (quota - in_turn), quota - in_turn, available, scratch, count)
    count = _propose_in_turn(turn[1], in_turn + left, 0, lists, scratch, count)
    for slot in listed:
        if slot < 0 or count >= turn[2]:
            break
        if _allows(slot, available, scratch):
            count = _propose(slot, FRESH, scratch, count)
    if count < turn[2]:
        count = _propose_in_turn(turn[1], 0, turn[2], lists, scratch, count)
    return count


@njit(cache=True, nogil=True)
def _mark(slots: NDArray[np.int32], mark: int, places: NDArray[Any]) -> None:
    for slot in slots:
        if 0 <= slot < places.shape[0]:
            places[slot] = mark


@njit(cache=True, nogil=True)
def gather(
    plain_lists: _PlainLists,
    plain_asked: tuple[NDArray[np.int32], ...],
    quotas: NDArray[np.int32],
    plain_scratch: _PlainArrays,
) -> int:
    """Fill the scratch space with distinct slots and the bits of their sources; returns their number.

    `plain_lists`, `plain_asked` and `plain_scratch` are `ProposalLists`, `Asked` and `_Scratch` as plain tuples.
    `quotas` int32[5]: how many each trending list, co-visit list, context list, the queue of the least shown and each
    list of neighbours may propose. The queue has its places, up to a quarter of all, even where the others could fill
    them.
    """
    trends, few = Trends(*plain_lists[0]), plain_lists[5]
    asked, whole = Asked(*plain_asked), _Scratch(*plain_scratch)
    available = whole.listed if few.shape[0] else plain_lists[4]
    lists = ProposalLists(
        trends, Lists(*plain_lists[1]), Lists(*plain_lists[2]), Lists(*plain_lists[3]), available, few
    )
    _mark(few, True, whole.listed)
    _mark(asked.blocked, _BLOCKED, whole.places)
    count = 0
    takes_turns = asked.turn[0] >= 0
    others = whole.found.shape[0] - (min(quotas[3], whole.found.shape[0] // 4) if takes_turns else 0)
    # Where no slate depends on it a list is not gone through further for what may not be proposed.
    pairs, popular = (quotas[1], quotas[1]), (quotas[2], quotas[2])
    if takes_turns:
        pairs, popular = (quotas[1], lists.pairs.keys.shape[1]), (quotas[2], lists.popular.keys.shape[1])
    scratch = _Scratch(whole.found[:others], whole.sources[:others], whole.places, whole.listed)
    for place in range(asked.extra.shape[0]):
        if _allows(asked.extra[place], available, scratch):
            count = _propose(asked.extra[place], asked.extra_sources[place], scratch, count)
    for kind in range(trends.trending.shape[0]):
        count = _propose_first(trends.trending[kind], quotas[0], TRENDING, available, scratch, count)
    count = _propose_lists(lists.pairs, asked.recent[:PAIR_SEEDS], pairs, COVISIT, available, scratch, count)
    count = _propose_heaviest(lists.together, asked.recent[:PAIR_SEEDS], quotas[4], available, scratch, count)
    count = _propose_lists(lists.popular, asked.values, popular, CONTEXTUAL, available, scratch, count)
    count = _propose_fresh(lists, asked.turn, quotas[3], whole, count)
    _mark(whole.found[:count], EMPTY, whole.places)
    _mark(asked.blocked, EMPTY, whole.places)
    _mark(few, False, whole.listed)
    return int(count)


class Gatherer:
    """`gather` with scratch space that is used again; any number of threads may call it."""

    def __init__(self, limit: int, quotas: tuple[int, int, int, int, int]) -> None:
        """At most `limit` candidates; `quotas` as `gather` takes them. Raises ValueError where one is negative."""
        if limit < 0 or min(quotas) < 0:
            raise ValueError(f"limit {limit} and quotas {quotas} must not be negative; 0 leaves a source out")
        self._limit = limit
        self._quotas = np.array(quotas, dtype=np.int32)
        # Kernels run concurrently, so no two calls may hold the same scratch.
        self._spare: list[_Scratch] = []

    def __call__(self, lists: ProposalLists, asked: Asked) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Slots int32[n] and source bits int32[n] of the candidates; more than the limit where more are wanted."""
        scratch = self._take(len(lists.available), max(self._limit, int(asked.turn[2])))
        families = (tuple(one) for one in (lists.trends, lists.pairs, lists.popular, lists.together))
        plain = (*families, lists.available, lists.few)
        count = gather(plain, tuple(asked), self._quotas, tuple(scratch))
        result = scratch.found[:count].copy(), scratch.sources[:count].copy()
        self._spare.append(scratch)
        return result

    def _take(self, slots: int, limit: int) -> _Scratch:
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = _Scratch(_ALL, _ALL, _ALL, np.empty(0, dtype=np.bool_))
        if len(scratch.found) != limit:
            found, sources = np.empty(limit, dtype=np.int32), np.empty(limit, dtype=np.int32)
            scratch = scratch._replace(found=found, sources=sources)
        if len(scratch.places) < slots:
            places, listed = np.full(slots, EMPTY, dtype=np.int32), np.zeros(slots, dtype=np.bool_)
            scratch = scratch._replace(places=places, listed=listed)
        return scratch
