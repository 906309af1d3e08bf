"""Bounded lists of decayed weights: for each row, the heaviest keys seen with it.

A row keeps at most `width` keys. Each key has one weight per half-life; all weights of a row decay together, lazily,
from the row's own stamp. When a row is full the key that is lightest under the longest half-life makes room, and the
newcomer inherits none of its weight, so a weight never overstates what was seen (unlike Space-Saving, Metwally et al.
2005, whose overestimate would invent co-visits).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import grown

EMPTY = np.int32(-1)


class Lists(NamedTuple):
    """The arrays of a family of lists, as the kernels take them."""

    keys: NDArray[np.int32]
    """int32[rows, width], −1 where free; used places come first."""
    weights: NDArray[np.float32]
    """float32[rows, width, half-lives], as of the row's stamp."""
    stamps: NDArray[np.int64]
    """int64[rows], ms."""
    rates: NDArray[np.float64]
    """float64[half-lives], decay exponent per ms: 1 / half-life."""


@njit(cache=True, nogil=True)
def add_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Add `amount` to `key` in `row` at `now` (ms); an older `now` than the row's stamp counts as the stamp."""
    width = lists.keys.shape[1]
    kinds = lists.rates.shape[0]
    elapsed = now - lists.stamps[row]
    used = 0
    while used < width and lists.keys[row, used] != EMPTY:
        used += 1
    if elapsed > 0:
        for kind in range(kinds):
            factor = np.float32(np.exp2(-elapsed * lists.rates[kind]))
            for place in range(used):
                lists.weights[row, place, kind] *= factor
        lists.stamps[row] = now
    lightest = 0
    for place in range(used):
        if lists.keys[row, place] == key:
            for kind in range(kinds):
                lists.weights[row, place, kind] += np.float32(amount)
            return
        if lists.weights[row, place, kinds - 1] < lists.weights[row, lightest, kinds - 1]:
            lightest = place
    place = used if used < width else lightest
    lists.keys[row, place] = key
    for kind in range(kinds):
        lists.weights[row, place, kind] = np.float32(amount)


@njit(cache=True, nogil=True)
def drop_keys(lists: Lists, gone: NDArray[np.bool_]) -> None:
    """Remove every key `k` with `gone[k]` from all rows and close the gaps; empty the rows with `gone[row]` too."""
    rows, width = lists.keys.shape
    for row in range(rows):
        kept = 0
        for place in range(width):
            key = lists.keys[row, place]
            if key == EMPTY:
                break
            if not gone[key]:
                lists.keys[row, kept] = key
                lists.weights[row, kept] = lists.weights[row, place]
                kept += 1
        lists.keys[row, kept:] = EMPTY


ROW_ARRAYS = ("keys", "weights", "stamps")


def empty_lists(rows: int, width: int, half_lives_ms: tuple[int, ...]) -> Lists:
    """Lists without any key."""
    return Lists(
        keys=np.full((rows, width), EMPTY, dtype=np.int32),
        weights=np.zeros((rows, width, len(half_lives_ms)), dtype=np.float32),
        stamps=np.zeros(rows, dtype=np.int64),
        rates=1.0 / np.array(half_lives_ms, dtype=np.float64),
    )


def grown_lists(lists: Lists, rows: int) -> Lists:
    """The same lists with room for `rows` rows."""
    return Lists(grown(lists.keys, rows, -1), grown(lists.weights, rows, 0), grown(lists.stamps, rows, 0), lists.rates)
