"""Lists of vectors in one byte a number, and the kernels that fill and search them.

A list is a chain of pages of `PAGE` entries, all full but the first. Within a page numbers of one dimension lie side by
side, so that a product with a query takes many entries at a time and needs no sum across a register.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.retrieve.exact_rows import largest, sift_down

PAGE = 64
"""Entries of a page: their scores fit the registers, and a list wastes half a page, 1.3 KB, on average."""
_LEVELS = np.float32(127.0)
NONE = np.int32(-1)

Floats = NDArray[np.float32]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


class ListPages(NamedTuple):
    """Entries of p pages, the chains of l lists, and where each of r rows is."""

    codes: NDArray[np.int8]
    """int8[p, dim, PAGE]: numbers as multiples of the entry's scale."""
    scales: Floats
    """float32[p, PAGE]"""
    rows: Int32s
    """int32[p, PAGE]: whose vector it is."""
    owner: Int32s
    """int32[p]: the list that a page belongs to."""
    next: Int32s
    """int32[p]: the page behind it; −1 behind the last. Of a free page the next free one."""
    head: Int32s
    """int32[l + 1]: the first page of each list, −1 of an empty one; behind them the first free page."""
    used: Int32s
    """int32[l]: entries of the first page."""
    place: Int32s
    """int32[r]: page × PAGE + entry of each row; −1 where it is in no list."""


class ListQueries(NamedTuple):
    """What is searched for."""

    queries: Floats
    """float32[q, dim]"""
    order: Int64s
    """int64[q, l]: the lists, those first that promise most."""
    allowed: NDArray[np.bool_]
    """bool[any]: whether a key below its length may be found, and no other; empty where all may."""
    budget: int
    """Entries that are looked at, at least, before the search ends with as many found as were asked for."""


@njit(cache=True, nogil=True)
def take_row(pages: ListPages, row: int) -> None:
    """Takes a row out of its list; nothing where it is in none."""
    at = pages.place[row]
    if at < 0:
        return
    page, entry = at // PAGE, at % PAGE
    which = pages.owner[page]
    head, last = pages.head[which], pages.used[which] - 1
    if head != page or last != entry:
        # The newest entry fills the hole, so that only the first page is not full.
        pages.codes[page, :, entry] = pages.codes[head, :, last]
        pages.scales[page, entry] = pages.scales[head, last]
        moved = pages.rows[head, last]
        pages.rows[page, entry] = moved
        pages.place[moved] = at
    pages.place[row] = NONE
    if last > 0:
        pages.used[which] = last
        return
    pages.head[which] = pages.next[head]
    pages.used[which] = PAGE if pages.head[which] >= 0 else 0
    pages.next[head], pages.head[-1] = pages.head[-1], head


@njit(cache=True, nogil=True)
def _set_entry(pages: ListPages, at: int, vector: Floats) -> None:
    most = np.float32(0.0)
    for number in vector:
        most = max(most, abs(number))
    scale = most / _LEVELS
    page, entry = at // PAGE, at % PAGE
    pages.scales[page, entry] = scale
    inverse = np.float32(1.0) / scale if scale > 0.0 else np.float32(0.0)
    for i in range(len(vector)):
        pages.codes[page, i, entry] = np.int8(np.rint(min(max(vector[i] * inverse, -_LEVELS), _LEVELS)))


@njit(cache=True, nogil=True)
def put_rows(pages: ListPages, rows: Int64s, lists: Int64s, vectors: Floats) -> int:
    """Puts rows int64[n] with vectors float32[n, dim] into lists int64[n], out of others; how many found room."""
    for i in range(len(rows)):
        row, which = rows[i], lists[i]
        at = pages.place[row]
        if at < 0 or pages.owner[at // PAGE] != which:
            take_row(pages, row)
            if pages.head[which] < 0 or pages.used[which] == PAGE:
                page = pages.head[-1]
                if page < 0:
                    return i
                pages.head[-1] = pages.next[page]
                pages.next[page], pages.owner[page] = pages.head[which], which
                pages.head[which], pages.used[which] = page, 0
            at = pages.head[which] * PAGE + pages.used[which]
            pages.used[which] += 1
            pages.rows[at // PAGE, at % PAGE] = row
            pages.place[row] = at
        _set_entry(pages, at, vectors[i])
    return len(rows)


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "contract", "reassoc"})
def _score_page(pages: ListPages, page: int, query: Floats, scores: Floats) -> None:
    """scores float32[PAGE] of a page's entries; of those that are not in use any number."""
    for j in range(PAGE):
        scores[j] = 0.0
    whole = len(query) - len(query) % 4
    for i in range(0, whole, 4):
        # Four at a time: sums are loaded and stored a quarter as often.
        a, b, c, d = query[i], query[i + 1], query[i + 2], query[i + 3]
        for j in range(PAGE):
            scores[j] += (
                a * np.float32(pages.codes[page, i, j])
                + b * np.float32(pages.codes[page, i + 1, j])
                + c * np.float32(pages.codes[page, i + 2, j])
                + d * np.float32(pages.codes[page, i + 3, j])
            )
    for i in range(whole, len(query)):
        for j in range(PAGE):
            scores[j] += query[i] * np.float32(pages.codes[page, i, j])
    for j in range(PAGE):
        scores[j] *= pages.scales[page, j]


@njit(cache=True, nogil=True)
def search_lists(pages: ListPages, keys: Int64s, asked: ListQueries, best: Floats, rows: Int64s) -> None:
    """Fills min-heaps of scores float32[q, k], by the codes, and rows int64[q, k].

    Heaps come filled with −inf and −1. `keys` int64[≥r] are the rows'.
    """
    scores = np.empty(PAGE, np.float32)
    for q in range(len(best)):
        query, seen = asked.queries[q], 0
        for place in range(asked.order.shape[1]):
            if seen >= asked.budget and best[q, 0] > -np.inf:
                break
            which = asked.order[q, place]
            page, width = pages.head[which], pages.used[which]
            while page >= 0:
                _score_page(pages, page, query, scores)
                seen += width
                if largest(scores[:width]) > best[q, 0]:
                    for j in range(width):
                        if scores[j] <= best[q, 0]:
                            continue
                        row = pages.rows[page, j]
                        if len(asked.allowed):
                            key = keys[row]
                            if key < 0 or key >= len(asked.allowed) or not asked.allowed[key]:
                                continue
                        sift_down(best[q], rows[q], scores[j], row)
                page, width = pages.next[page], PAGE


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "contract", "reassoc"})
def score_exactly(vectors: Floats, queries: Floats, rows: Int64s, scores: Floats) -> None:
    """Sets scores float32[q, k] of rows int64[q, k]; those of row −1 stay."""
    for q in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            row = rows[q, i]
            if row >= 0:
                total = np.float32(0.0)
                for j in range(vectors.shape[1]):
                    total += vectors[row, j] * queries[q, j]
                scores[q, i] = total


@njit(cache=True, nogil=True)
def add_up(vectors: Floats, lists: Int64s, sums: NDArray[np.float64], counts: Int64s) -> None:
    """Adds vectors float32[n, dim] to the sums float64[l, dim] and counts int64[l] of their lists int64[n]."""
    for i in range(len(vectors)):
        which = lists[i]
        counts[which] += 1
        for j in range(vectors.shape[1]):
            sums[which, j] += vectors[i, j]
