"""How alike items are by what is said of them: cosines of their values, words weighted by how rare they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.content.items import ItemContent

_VALUES_COMPARED, _ITEMS_OF_A_VALUE = 16, 100
"""Items are found by so many of an item's rarest values, of each the newest so many."""
_FIELD_FACTOR = np.int64(-7046029254386353131)
"""Odd, so that features with the same value have different keys."""
_LEAST_DIVISOR = 1e-12
"""What the length of zeros is divided by in its place."""


def sharing_rare_values(content: ItemContent, slot: int) -> NDArray[np.int32]:
    """Slots int32[n] of items that have one of the rarest categories or words of an item."""
    said = content.categories_of(np.array([slot], dtype=np.int32), words=True)
    rarest = sorted(said, key=lambda value: content.frequency(*value))[:_VALUES_COMPARED]
    found = dict.fromkeys(one for value in rarest for one in content.having(*value, _ITEMS_OF_A_VALUE))
    return np.array(list(found), dtype=np.int32)


def said_alike(content: ItemContent, slot: int, slots: NDArray[np.int32], now: int) -> NDArray[np.float32]:
    """float32[n]: cosines of an item's values with those of `slots` int32[n] at `now` (ms); 0 where nothing is said."""
    counts, values = content.read(np.concatenate([[slot], slots]).astype(np.int32), now)
    keys = values.codes + values.fields * _FIELD_FACTOR
    own = int(counts[0])
    order = np.argsort(keys[:own])
    own_keys, own_weights = keys[:own][order], values.weights[:own][order].astype(np.float64)
    owners = np.repeat(np.arange(len(counts)), counts)[own:] - 1
    theirs = values.weights[own:].astype(np.float64)
    squares = np.bincount(owners, theirs**2, minlength=len(slots))
    if not own:
        return np.zeros(len(slots), dtype=np.float32)
    places = np.minimum(np.searchsorted(own_keys, keys[own:]), own - 1)
    shared = np.where(own_keys[places] == keys[own:], own_weights[places] * theirs, 0.0)
    products = np.bincount(owners, shared, minlength=len(slots))
    lengths = np.sqrt(squares * (own_weights**2).sum())
    alike: NDArray[np.float32] = (products / np.maximum(lengths, _LEAST_DIVISOR)).astype(np.float32)
    return alike
