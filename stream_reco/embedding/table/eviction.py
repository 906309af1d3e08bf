"""Which rows leave: those idle for longer than the TTL, and in a table that is full the least valuable.

A row is worth the time at which its count, halved every half-life since it was last seen, falls to one:
last seen + half-life · log2(count). This is least frequently used with ageing in a form that needs no ageing: the order
of two rows does not change while neither is seen.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels.index import GOLDEN, meta_address
from stream_reco.embedding.kernels.pointers import Scalar, words_at, words_of
from stream_reco.embedding.kernels.rows import COUNT_MASK, FREE, SHIFT, TTL
from stream_reco.embedding.table.row_store import NEVER, RowStore

_BLOCK = 1 << 16
_SAMPLE = 1024
# Victims are taken from this share of the rows, the least valuable ones, so that few others are looked at.
_SHARE = 0.05
_REFRESHED = 4096


def idle(store: RowStore, now: int, limit: int) -> NDArray[np.int64]:
    """int64[m]: at most `limit` rows that are past their TTL, from where the last call stopped, round the table once.

    Pages in which no row can be due are passed over; each call looks at a few of them again, in turn.
    """
    _refresh(store)
    found: list[NDArray[np.int64]] = []
    cursor = int(store.head[scalars.CURSOR])
    for start, stop in ((cursor, store.top), (0, cursor)):
        at = start
        while at < stop and limit > 0:
            rows = np.empty(min(limit, _BLOCK), np.int64)
            count, at = idle_rows(now, at, stop, store.meta.addresses, store.layout, store.bounds, rows)
            found.append(rows[:count])
            limit -= count
        if limit == 0:
            store.head[scalars.CURSOR] = at
            break
    else:
        store.head[scalars.CURSOR] = 0
    return np.concatenate(found) if found else np.empty(0, np.int64)


def least_valuable(store: RowStore, many: int, pinned: NDArray[np.int64], half_life: int) -> NDArray[np.int64]:
    """int64[m]: `many` rows to give up, or all there are, none of `pinned` (in order, each once).

    Of few rows, or where many are asked for, exactly the least valuable. Else the first ones, from where the last call
    stopped, of a value that about a twentieth of a sample has not reached.
    """
    many = max(0, min(many, store.live - len(pinned)))
    if store.top <= 4 * _SAMPLE or many > _SHARE * store.live:
        return _exactly(store, many, pinned, half_life)
    hand = int(store.head[scalars.HAND])
    bound = _low_value(store, hand, half_life)
    chosen = np.empty(0, np.int64)
    for start, stop in ((hand, store.top), (0, hand)):
        at = start
        while at < stop and len(chosen) < many:
            rows = np.empty(many - len(chosen), np.int64)
            count, at = cheap_rows(bound, half_life, at, stop, store.meta.addresses, store.layout, rows)
            fresh = rows[:count]
            chosen = np.concatenate([chosen, fresh[~_is_among(fresh, pinned)]])
        store.head[scalars.HAND] = at
        if len(chosen) == many:
            return chosen
    return _exactly(store, many, pinned, half_life)


def _exactly(store: RowStore, many: int, pinned: NDArray[np.int64], half_life: int) -> NDArray[np.int64]:
    live = store.live_rows()
    free_to_go = live[~_is_among(live, pinned)]
    if many == 0:
        return free_to_go[:0]
    order = np.argpartition(values(store, free_to_go, half_life), many - 1)
    return free_to_go[order[:many]]


def _low_value(store: RowStore, hand: int, half_life: int) -> float:
    """What a twentieth of a sample of rows is worth at most. The sample is spread evenly, and is another each time."""
    steps = (np.arange(_SAMPLE, dtype=np.uint64) + np.uint64(hand)) * np.uint64(GOLDEN % (1 << 64))
    rows = ((steps >> np.uint64(33)) * np.uint64(store.top) >> np.uint64(31)).astype(np.int64)
    sampled = values(store, rows, half_life)
    sampled = sampled[np.isfinite(sampled)]
    place = int(_SHARE * len(sampled))
    return float(np.partition(sampled, place)[place]) if len(sampled) else math.inf


def values(store: RowStore, rows: NDArray[np.int64], half_life: int) -> NDArray[np.float64]:
    """float64[n]: what rows are worth, in ms of event time; infinite for a row without a key."""
    worths = np.empty(len(rows), np.float64)
    worth_of_words(store.words_of(rows), half_life, worths)
    return worths


def _is_among(rows: NDArray[np.int64], those: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[n]: whether each row is one of those (in order)."""
    if not len(those):
        return np.zeros(len(rows), np.bool_)
    found: NDArray[np.bool_] = those[np.minimum(np.searchsorted(those, rows), len(those) - 1)] == rows
    return found


def compile_kernels(store: RowStore) -> None:
    """Have what only a large table runs compiled."""
    cheap_rows(0.0, 1, 0, 0, store.meta.addresses, store.layout, np.empty(1, np.int64))
    values(store, np.empty(0, np.int64), 1)


def _refresh(store: RowStore) -> None:
    pages = -(-store.top >> int(store.layout[SHIFT]))
    many = min(pages, max(1, _REFRESHED >> int(store.layout[SHIFT])))
    refresh_bounds(store.refreshed, many, store.top, store.meta.addresses, store.layout, store.bounds)
    store.refreshed = (store.refreshed + many) % max(pages, 1)


@njit(cache=True, nogil=True)
def refresh_bounds(
    first: int, many: int, top: int, meta: NDArray[np.int64], layout: NDArray[np.int64], bounds: NDArray[np.int64]
) -> None:
    """Of so many pages, from `first` round the table: bounds[page] = the least last seen of the page's rows."""
    metas, shift = words_of(meta), layout[SHIFT]
    pages = -(-top >> shift)
    for turn in range(first, first + many):
        page = turn % pages
        oldest = np.int64(NEVER)
        for row in range(page << shift, min((page + 1) << shift, top)):
            word = words_at(meta_address(metas, shift, row))[1]
            if word != FREE:
                oldest = min(oldest, word >> 16)
        bounds[page] = oldest


@njit(cache=True, nogil=True)
def idle_rows(
    now: int,
    start: int,
    stop: int,
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    bounds: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[int, int]:
    """Rows with now − last seen > ttl in [start, stop), as many as fit into `rows`: (how many, where it stopped)."""
    metas, shift, ttl = words_of(meta), layout[SHIFT], layout[TTL]
    count, row = 0, start
    while row < stop:
        end = min(((row >> shift) + 1) << shift, stop)
        if now - bounds[row >> shift] <= ttl:
            row = end
            continue
        while row < end:
            if count == len(rows):
                return count, row
            word = words_at(meta_address(metas, shift, row))[1]
            if word != FREE and now - (word >> 16) > ttl:
                rows[count] = row
                count += 1
            row += 1
    return count, stop


@njit(cache=True, nogil=True)
def worth(word: int, half_life: int) -> Scalar:
    """What a row is worth by its second word of meta."""
    return (word >> 16) + half_life * math.log2(max(word & COUNT_MASK, 1))


@njit(cache=True, nogil=True)
def worth_of_words(words: NDArray[np.int64], half_life: int, worths: NDArray[np.float64]) -> None:
    """worths[i] = what the row with words[i] is worth; infinite for one without a key."""
    for i in range(len(words)):
        worths[i] = math.inf if words[i] == FREE else worth(words[i], half_life)


@njit(cache=True, nogil=True)
def cheap_rows(
    bound: float,
    half_life: int,
    start: int,
    stop: int,
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[int, int]:
    """Rows worth at most `bound` in [start, stop), as many as fit into `rows`: (how many, where it stopped)."""
    metas, shift = words_of(meta), layout[SHIFT]
    count = 0
    for row in range(start, stop):
        if count == len(rows):
            return count, row
        word = words_at(meta_address(metas, shift, row))[1]
        # Most rows are known to be worth more without the logarithm.
        if word != FREE and word >> 16 <= bound and worth(word, half_life) <= bound:
            rows[count] = row
            count += 1
    return count, stop
