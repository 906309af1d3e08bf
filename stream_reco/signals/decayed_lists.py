"""Bounded lists of decayed weights: for each row, the heaviest keys seen with it.

A row keeps at most `width` keys, each with one weight per half-life. Weights are kept as of the row's own stamp, and
what is added later is scaled up instead of all the rest down (forward decay, Cormode et al. 2009, §3): a float32 weight
that is multiplied at each event never decays where events are milliseconds apart. When a row is full the key that is
lightest under the longest half-life makes room, and the newcomer inherits none of its weight, so a weight never
overstates what was seen (unlike Space-Saving, Metwally et al. 2005, whose overestimate would invent co-visits).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import grown

EMPTY = np.int32(-1)
_ROUNDING = 1e-4
"""Share of a weight that was taken out below which what is left is rounding: float32 holds 24 bits of each sum."""


class Lists(NamedTuple):
    """The arrays of a family of lists, as the kernels take them."""

    keys: NDArray[np.int32]
    """int32[rows, width], −1 where free; used places come first."""
    weights: NDArray[np.float32]
    """float32[rows, width, half-lives], as of the row's stamp."""
    stamps: NDArray[np.int64]
    """int64[rows], ms: at most the shortest half-life behind the newest event."""
    rates: NDArray[np.float64]
    """float64[half-lives], decay exponent per ms: 1 / half-life; the shortest half-life first."""


@njit(cache=True, nogil=True)
def decay_of(lists: Lists, row: int, kind: int, now: int) -> float:
    """What the weights of a row under a half-life are multiplied by as of `now` (ms)."""
    factor: float = np.exp2(-max(0, now - lists.stamps[row]) * lists.rates[kind])
    return factor


@njit(cache=True, nogil=True)
def _move_stamp(lists: Lists, row: int, used: int, now: int) -> None:
    """Bring the `used` weights of a row to `now` (ms)."""
    elapsed = now - lists.stamps[row]
    for kind in range(lists.rates.shape[0]):
        factor = np.float32(np.exp2(-elapsed * lists.rates[kind]))
        for place in range(used):
            lists.weights[row, place, kind] *= factor
    lists.stamps[row] = now


@njit(cache=True, nogil=True)
def add_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Add `amount` to `key` in `row` at `now` (ms).

    A late newcomer that by now is lighter than all keys of a full row is not taken in.
    """
    width, kinds = lists.keys.shape[1], lists.rates.shape[0]
    used = 0
    lightest = 0
    at = -1
    while used < width and lists.keys[row, used] != EMPTY:
        if lists.keys[row, used] == key:
            at = used
        if lists.weights[row, used, kinds - 1] < lists.weights[row, lightest, kinds - 1]:
            lightest = used
        used += 1
    if (now - lists.stamps[row]) * lists.rates[0] > 1.0:
        _move_stamp(lists, row, used, now)
    elapsed = now - lists.stamps[row]
    if at < 0:
        at = used if used < width else lightest
        if used == width and elapsed < 0:
            weight = amount * np.exp2(elapsed * lists.rates[kinds - 1])
            if weight < lists.weights[row, lightest, kinds - 1]:
                return
        lists.keys[row, at] = key
        for kind in range(kinds):
            lists.weights[row, at, kind] = np.float32(0.0)
    for kind in range(kinds):
        scale = np.exp2(elapsed * lists.rates[kind]) if elapsed != 0 else 1.0
        lists.weights[row, at, kind] += np.float32(amount * scale)


@njit(cache=True, nogil=True)
def take_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Take out what `add_weight` with the same amount and `now` (ms) added, where the key has not made room since.

    A key of which nothing is left leaves the row; the order of the others stays.
    """
    width, kinds = lists.keys.shape[1], lists.rates.shape[0]
    at = 0
    while at < width and lists.keys[row, at] != key:
        if lists.keys[row, at] == EMPTY:
            return
        at += 1
    if at == width:
        return
    elapsed = now - lists.stamps[row]
    for kind in range(kinds):
        taken = np.float32(amount * np.exp2(elapsed * lists.rates[kind]))
        left = lists.weights[row, at, kind] - taken
        lists.weights[row, at, kind] = left if left > taken * _ROUNDING else np.float32(0.0)
    if lists.weights[row, at, kinds - 1] > 0.0:
        return
    while at + 1 < width and lists.keys[row, at + 1] != EMPTY:
        lists.keys[row, at] = lists.keys[row, at + 1]
        for kind in range(kinds):
            lists.weights[row, at, kind] = lists.weights[row, at + 1, kind]
        at += 1
    lists.keys[row, at] = EMPTY
    for kind in range(kinds):
        lists.weights[row, at, kind] = np.float32(0.0)


@njit(cache=True, nogil=True)
def drop_keys(lists: Lists, gone: NDArray[np.bool_], changed: NDArray[np.bool_]) -> None:
    """Remove every key `k` with `gone[k]` from all rows, close the gaps, and mark the rows where there was one."""
    rows, width = lists.keys.shape
    kinds = lists.rates.shape[0]
    for row in range(rows):
        kept = 0
        for place in range(width):
            key = lists.keys[row, place]
            if key == EMPTY:
                break
            if gone[key]:
                changed[row] = True
                lists.keys[row, place] = EMPTY
                continue
            if kept < place:
                lists.keys[row, place] = EMPTY
                lists.keys[row, kept] = key
                for kind in range(kinds):
                    lists.weights[row, kept, kind] = lists.weights[row, place, kind]
            kept += 1


def clear_rows(lists: Lists, rows: NDArray[np.int32]) -> None:
    """Empty the given rows."""
    lists.keys[rows] = EMPTY
    lists.weights[rows] = 0
    lists.stamps[rows] = 0


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
