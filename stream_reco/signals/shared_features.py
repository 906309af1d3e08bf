"""What items share in features: by how much of what is said of them they are one and the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.encode import MOST_ENTRIES
from stream_reco.signals.content.entries import Entries
from stream_reco.signals.content.kinds import Kind

_TEXT = int(Kind.TEXT)
_OF_FIELD, _OF_VALUE, _OF_WORD = np.int64(-7046029254386353131), np.int64(0x2545F4914F6CDD1D), np.int64(2654435761)
"""Odd, so that what is said of different features, and texts with different words, have different keys."""
_SHIFT = np.int64(29)


def largest_shared_features(
    catalogue: Catalogue, slots: NDArray[np.int32], others: NDArray[np.int32]
) -> NDArray[np.float32]:
    """float32[n] in 0..1: the largest share of feature values that an item and one of `others` have both.

    Of all values that either has (Jaccard, "The distribution of the flora in the alpine zone", 1912); a text is one
    value, the same where its words are, and given vectors are none. `slots` int32[n] and `others` int32[m] are slots of
    the catalogue; an item is not compared with itself, and one without features, or without a slot (−1), shares none.
    """
    content, alike = catalogue.content, np.zeros(len(slots), dtype=np.float32)
    if len(others) and content.fields.everyone:
        _largest_shares(tuple(content.entries), content.fields.kinds, slots, others, alike)
    return alike


@njit(cache=True, nogil=True)
def _mixed(code: int, factor: int) -> int:
    product = np.int64(code) * factor
    return int(product ^ (product >> _SHIFT))


@njit(cache=True, nogil=True)
def _keys_of(entries: Entries, kinds: NDArray[np.int8], slot: int, keys: NDArray[np.int64]) -> int:
    """Fill `keys` int64[MOST_ENTRIES] with one for each value of an item; returns how many it has."""
    if not 0 <= slot < entries.lengths.shape[0]:
        return 0
    at, stop, count = entries.starts[slot], entries.starts[slot] + entries.lengths[slot], 0
    while at < stop:
        field = entries.fields[at]
        of_field = np.int64(field) * _OF_FIELD
        if kinds[field] == _TEXT:
            words = np.int64(0)
            while at < stop and entries.fields[at] == field:
                words += np.int64(_mixed(entries.codes[at], _OF_WORD)) * np.int64(entries.counts[at])
                at += 1
            keys[count] = _mixed(words, _OF_VALUE) + of_field
        else:
            keys[count] = _mixed(entries.codes[at], _OF_VALUE) + of_field
            at += 1
        count += 1
    return count


@njit(cache=True, nogil=True)
def _largest_shares(
    plain_entries: tuple[NDArray[Any], ...],
    kinds: NDArray[np.int8],
    slots: NDArray[np.int32],
    others: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    entries, keys = Entries(*plain_entries), np.empty(MOST_ENTRIES, np.int64)
    theirs, owners = (
        np.empty(MOST_ENTRIES * others.shape[0], np.int64),
        np.empty(MOST_ENTRIES * others.shape[0], np.int32),
    )
    counts, total = np.zeros(others.shape[0], np.int64), 0
    for other in range(others.shape[0]):
        counts[other] = _keys_of(entries, kinds, others[other], keys)
        theirs[total : total + counts[other]] = keys[: counts[other]]
        owners[total : total + counts[other]] = other
        total += counts[other]
    if not total:
        return
    # What the others say, in ascending order: a value of a candidate is found by halving.
    order = np.argsort(theirs[:total])
    theirs, owners = theirs[:total][order], owners[:total][order]
    both = np.zeros(others.shape[0], np.int64)
    for place in range(slots.shape[0]):
        mine = _keys_of(entries, kinds, slots[place], keys)
        both[:] = 0
        for at in range(mine):
            found = np.searchsorted(theirs, keys[at])
            while found < total and theirs[found] == keys[at]:
                both[owners[found]] += 1
                found += 1
        for other in range(others.shape[0]):
            if both[other] and others[other] != slots[place]:
                share = both[other] / (mine + counts[other] - both[other])
                out[place] = max(out[place], np.float32(share))
