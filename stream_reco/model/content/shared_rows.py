"""Which rows of the table of content speak of values alone, and of no user and no item.

Keys are hashes, so they are made of what items and users are known to say: of all values, and of all pairs of values.
A row that nothing here makes the key of, such as a user's own, is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.content.pairs import CONTEXT, CROSS, EQUAL, ITEM, USER, key_of_row, mixed

MOST_PAIRS = 1 << 28
"""Pairs of values that are looked for, some ten seconds of them; those of the least frequent values are left out."""
_MORE_PLACES = 2
"""Places of the set of keys for each key, at least: chains of full places stay short."""


class SharedValues(NamedTuple):
    """What is said and may be told to others, the most frequent first: hashes of features' names, and codes."""

    user_fields: NDArray[np.int32]
    user_codes: NDArray[np.int64]
    item_fields: NDArray[np.int32]
    item_codes: NDArray[np.int64]
    contexts: NDArray[np.int64]
    """int64[c]: keys of values of contexts."""


def shared_keys(values: SharedValues, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[m]: those of the `keys` int64[n] of a table that are of `ITEM`, `USER`, `CROSS`, `EQUAL` or `CONTEXT`."""
    users, items, alone = _values(values.user_fields, values.user_codes), values_of_items(values), np.zeros(1, np.int64)
    user_fields, item_fields = (np.unique(one).astype(np.int64) for one in (values.user_fields, values.item_fields))
    of_parts = (
        (ITEM, items, alone),
        (USER, users, alone),
        (CROSS, users, items),
        (EQUAL, user_fields, item_fields),
        (CONTEXT, values.contexts, items),
    )
    places, found = _as_set(keys), [np.empty(0, dtype=np.int64)]
    for part, first, second in of_parts:
        found += [_found(places, part, *pairs) for pairs in _pairs(first, second)]
    return np.unique(np.concatenate(found))


def values_of_items(values: SharedValues) -> NDArray[np.int64]:
    """int64[v]: the numbers that stand for the items' values in keys; in the table of the encoder they are the keys."""
    found: NDArray[np.int64] = _values(values.item_fields, values.item_codes)
    return found


def _pairs(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Both, where neither is empty; no more of them than `MOST_PAIRS` allows, as many of each where both are long."""
    if len(first) and len(second):
        first = first[: max(isqrt(MOST_PAIRS), MOST_PAIRS // len(second))]
        yield first, second[: MOST_PAIRS // len(first)]


@njit(cache=True, nogil=True)
def _values(fields: NDArray[np.int32], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    values = np.empty(fields.shape[0], np.int64)
    for at in range(fields.shape[0]):
        values[at] = mixed(fields[at], codes[at])
    return values


@njit(cache=True, nogil=True)
def _as_set(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[2^b]: each key (they are hashes, and none is 0) at the first free place from its last bits on; 0: free."""
    size = 16
    while size < _MORE_PLACES * keys.shape[0]:
        size *= 2
    places = np.zeros(size, np.int64)
    for key in keys:
        at = key & (size - 1)
        while places[at] != 0:
            at = (at + 1) & (size - 1)
        places[at] = key
    return places


@njit(cache=True, nogil=True)
def _has(places: NDArray[np.int64], key: int) -> bool:
    last = places.shape[0] - 1
    at = key & last
    while places[at] != 0:
        if places[at] == key:
            return True
        at = (at + 1) & last
    return False


@njit(cache=True, nogil=True)
def _found(
    places: NDArray[np.int64], part: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    found, count = np.empty(64, np.int64), 0
    for one in first:
        for other in second:
            key = key_of_row(part, one, other)
            if _has(places, key):
                if count == found.shape[0]:
                    more = np.empty(2 * count, np.int64)
                    more[:count] = found
                    found = more
                found[count] = key
                count += 1
    return found[:count]
