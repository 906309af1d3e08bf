"""Bounded lists of decayed weights: for each row, the heaviest keys seen with it.

A row keeps at most `width` keys, each with one weight per half-life. Weights are kept as of the row's own stamp, and
what is added later is scaled up instead of all the rest down (forward decay, Cormode et al. 2009, §3): a float32 weight
that is multiplied at each event never decays where events are milliseconds apart. When a row is full the key that is
lightest under the longest half-life makes room, and the newcomer inherits none of its weight, so a weight never
overstates what was seen (unlike Space-Saving, Metwally et al. 2005, whose overestimate would invent co-visits).

A row takes memory from its first key on: of a large catalogue few items are acted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts, capacity_for, grown, put, take

EMPTY = np.int32(-1)
_ROUNDING = 1e-4
"""Share of a weight that was taken out below which what is left is rounding: float32 holds 24 bits of each sum."""


class Lists(NamedTuple):
    """The arrays of a family of lists, as the kernels take them."""

    keys: NDArray[np.int32]
    """int32[lists, width], −1 where free; used places come first."""
    weights: NDArray[np.float32]
    """float32[lists, width, half-lives], as of the list's stamp."""
    stamps: NDArray[np.int64]
    """int64[lists], ms: at most the shortest half-life behind the newest event."""
    rates: NDArray[np.float64]
    """float64[half-lives], decay exponent per ms: 1 / half-life; the shortest half-life first."""
    numbers: NDArray[np.int32]
    """int32[rows]: the number of each row's list; 0, whose list stays empty, before the row has its first key."""
    used: NDArray[np.int64]
    """int64[1]: lists that are given to rows, list 0 included."""


@njit(cache=True, nogil=True)
def decay_of(lists: Lists, row: int, kind: int, now: int) -> float:
    """What the weights of a row under a half-life are multiplied by as of `now` (ms)."""
    factor: float = np.exp2(-max(0, now - lists.stamps[lists.numbers[row]]) * lists.rates[kind])
    return factor


@njit(cache=True, nogil=True)
def _move_stamp(lists: Lists, number: int, used: int, now: int) -> None:
    """Bring the `used` weights of a list to `now` (ms)."""
    elapsed = now - lists.stamps[number]
    for kind in range(lists.rates.shape[0]):
        factor = np.float32(np.exp2(-elapsed * lists.rates[kind]))
        for place in range(used):
            lists.weights[number, place, kind] *= factor
    lists.stamps[number] = now


@njit(cache=True, nogil=True)
def _number_for(lists: Lists, row: int) -> int:
    """The number of a row's list; a row without one gets the next."""
    if lists.numbers[row] == 0:
        lists.numbers[row] = lists.used[0]
        lists.used[0] += 1
    return int(lists.numbers[row])


@njit(cache=True, nogil=True)
def add_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Add `amount` to `key` in `row` at `now` (ms).

    A late newcomer that by now is lighter than all keys of a full row is not taken in. A row that has no list yet takes
    one: there must be one to spare (`with_spare`).
    """
    width, kinds = lists.keys.shape[1], lists.rates.shape[0]
    number = _number_for(lists, row)
    used = 0
    lightest = 0
    at = -1
    while used < width and lists.keys[number, used] != EMPTY:
        if lists.keys[number, used] == key:
            at = used
        if lists.weights[number, used, kinds - 1] < lists.weights[number, lightest, kinds - 1]:
            lightest = used
        used += 1
    if (now - lists.stamps[number]) * lists.rates[0] > 1.0:
        _move_stamp(lists, number, used, now)
    elapsed = now - lists.stamps[number]
    if at < 0:
        at = used if used < width else lightest
        if used == width and elapsed < 0:
            weight = amount * np.exp2(elapsed * lists.rates[kinds - 1])
            if weight < lists.weights[number, lightest, kinds - 1]:
                return
        lists.keys[number, at] = key
        for kind in range(kinds):
            lists.weights[number, at, kind] = np.float32(0.0)
    for kind in range(kinds):
        scale = np.exp2(elapsed * lists.rates[kind]) if elapsed != 0 else 1.0
        lists.weights[number, at, kind] += np.float32(amount * scale)


@njit(cache=True, nogil=True)
def take_weight(lists: Lists, row: int, key: int, amount: float, now: int) -> None:
    """Take out what `add_weight` with the same amount and `now` (ms) added, where the key has not made room since.

    A key of which nothing is left leaves the row; the order of the others stays.
    """
    width, kinds = lists.keys.shape[1], lists.rates.shape[0]
    number = lists.numbers[row]
    at = 0
    while at < width and lists.keys[number, at] != key:
        if lists.keys[number, at] == EMPTY:
            return
        at += 1
    if at == width:
        return
    elapsed = now - lists.stamps[number]
    for kind in range(kinds):
        taken = np.float32(amount * np.exp2(elapsed * lists.rates[kind]))
        left = lists.weights[number, at, kind] - taken
        lists.weights[number, at, kind] = left if left > taken * _ROUNDING else np.float32(0.0)
    if lists.weights[number, at, kinds - 1] > 0.0:
        return
    while at + 1 < width and lists.keys[number, at + 1] != EMPTY:
        lists.keys[number, at] = lists.keys[number, at + 1]
        for kind in range(kinds):
            lists.weights[number, at, kind] = lists.weights[number, at + 1, kind]
        at += 1
    lists.keys[number, at] = EMPTY
    for kind in range(kinds):
        lists.weights[number, at, kind] = np.float32(0.0)


@njit(cache=True, nogil=True)
def drop_keys(lists: Lists, gone: NDArray[np.bool_], changed: NDArray[np.bool_]) -> None:
    """Remove every key `k` with `gone[k]` from all rows, close the gaps, and mark the rows where there was one."""
    width, kinds = lists.keys.shape[1], lists.rates.shape[0]
    for row in range(lists.numbers.shape[0]):
        number = lists.numbers[row]
        kept = 0
        for place in range(width):
            key = lists.keys[number, place]
            if key == EMPTY:
                break
            if gone[key]:
                changed[row] = True
                lists.keys[number, place] = EMPTY
                continue
            if kept < place:
                lists.keys[number, place] = EMPTY
                lists.keys[number, kept] = key
                for kind in range(kinds):
                    lists.weights[number, kept, kind] = lists.weights[number, place, kind]
            kept += 1


def clear_rows(lists: Lists, rows: NDArray[np.int32]) -> None:
    """Empty the given rows; they keep their lists, as their next keys will come."""
    numbers = lists.numbers[rows]
    numbers = numbers[numbers > 0]
    lists.keys[numbers] = EMPTY
    lists.weights[numbers] = 0
    lists.stamps[numbers] = 0


_ARRAYS = ("keys", "weights", "stamps")
_FIRST_LISTS = 1024


def empty_lists(rows: int, width: int, half_lives_ms: tuple[int, ...]) -> Lists:
    """Lists without any key."""
    return Lists(
        keys=np.full((_FIRST_LISTS, width), EMPTY, dtype=np.int32),
        weights=np.zeros((_FIRST_LISTS, width, len(half_lives_ms)), dtype=np.float32),
        stamps=np.zeros(_FIRST_LISTS, dtype=np.int64),
        rates=1.0 / np.array(half_lives_ms, dtype=np.float64),
        numbers=np.zeros(rows, dtype=np.int32),
        used=np.ones(1, dtype=np.int64),
    )


def grown_lists(lists: Lists, rows: int) -> Lists:
    """The same lists with room for `rows` rows."""
    return lists._replace(numbers=grown(lists.numbers, rows, 0))


def with_spare(lists: Lists, spare: int) -> Lists:
    """The same lists with room for so many rows more that get their first key."""
    needed = int(lists.used[0]) + spare
    if needed <= len(lists.keys):
        return lists
    room = capacity_for(needed, len(lists.keys))
    return lists._replace(
        keys=grown(lists.keys, room, -1), weights=grown(lists.weights, room, 0), stamps=grown(lists.stamps, room, 0)
    )


def take_lists(lists: Lists, rows: NDArray[np.int32], prefix: str) -> Parts:
    """Copies of the lists of those of the given rows that hold anything: "rows" and the arrays under `prefix`."""
    numbers = lists.numbers[rows]
    holds = (lists.keys[numbers, 0] != EMPTY) | (lists.stamps[numbers] != 0)
    return {f"{prefix}rows": rows[holds], **take(lists, _ARRAYS, numbers[holds], prefix)}


def put_lists(lists: Lists, rows: NDArray[np.int32], parts: Mapping[str, NDArray[Any]], prefix: str) -> Lists:
    """The lists with the given rows as `take_lists` took them. Raises ValueError as `put` does.

    Up to version 0.2.0 parts had a list for each row.
    """
    if f"{prefix}rows" in parts:
        holding = parts[f"{prefix}rows"]
    else:
        holds = (parts[f"{prefix}keys"][:, 0] != EMPTY) | (parts[f"{prefix}stamps"] != 0)
        parts = {prefix + name: parts[prefix + name][holds] for name in _ARRAYS}
        holding = rows[holds]
    new = holding[lists.numbers[holding] == 0]
    lists = with_spare(lists, len(new))
    first = int(lists.used[0])
    lists.numbers[new] = np.arange(first, first + len(new), dtype=np.int32)
    lists.used[0] += len(new)
    clear_rows(lists, rows)
    put(lists, _ARRAYS, lists.numbers[holding], parts, prefix)
    return lists
