"""Which slot an item's key has: four bytes for two of them, where a dictionary takes a hundred for one item."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FREE = -1
_FEWEST = 2048
"""Places of an empty index; a power of two, as any number of them."""
_MULTIPLIER, _UPPER = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
"""2⁶⁴ over the golden ratio, by which the upper bits of a product depend on all of the key (Knuth, TAOCP 3, §6.4)."""
_INT64 = np.iinfo(np.int64)
_LEAST, _MOST = int(_INT64.min), int(_INT64.max)


@njit(cache=True, nogil=True)
def _home(key: int, mask: int) -> int:
    return int(np.int64((np.uint64(key) * _MULTIPLIER) >> _UPPER) & mask)


@njit(cache=True, nogil=True)
def _place_of(places: NDArray[np.int32], keys: NDArray[np.int64], key: int) -> int:
    """The place of a key, or the free one where it belongs."""
    mask = places.shape[0] - 1
    at = _home(key, mask)
    while places[at] != _FREE and keys[places[at]] != key:
        at = (at + 1) & mask
    return int(at)


@njit(cache=True, nogil=True)
def _find(places: NDArray[np.int32], keys: NDArray[np.int64], key: int) -> int:
    return int(places[_place_of(places, keys, key)])


@njit(cache=True, nogil=True)
def _find_all(places: NDArray[np.int32], keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
    found = np.empty(wanted.shape[0], dtype=np.int32)
    for at in range(wanted.shape[0]):
        found[at] = places[_place_of(places, keys, wanted[at])]
    return found


@njit(cache=True, nogil=True)
def _put(places: NDArray[np.int32], keys: NDArray[np.int64], slot: int) -> None:
    places[_place_of(places, keys, keys[slot])] = slot


@njit(cache=True, nogil=True)
def _remove(places: NDArray[np.int32], keys: NDArray[np.int64], key: int) -> None:
    """Free the place of a key, and bring those that stand further from home than there one gap nearer."""
    mask = places.shape[0] - 1
    gap = _place_of(places, keys, key)
    at = (gap + 1) & mask
    while places[at] != _FREE:
        if ((at - _home(keys[places[at]], mask)) & mask) >= ((at - gap) & mask):
            places[gap], gap = places[at], at
        at = (at + 1) & mask
    places[gap] = _FREE


@njit(cache=True, nogil=True)
def _move(old: NDArray[np.int32], new: NDArray[np.int32], keys: NDArray[np.int64]) -> None:
    for slot in old:
        if slot != _FREE:
            _put(new, keys, slot)


@njit(cache=True, nogil=True)
def _put_all(places: NDArray[np.int32], keys: NDArray[np.int64], slots: NDArray[np.int32]) -> NDArray[np.int32]:
    """Enter slots, but for those whose key another one has, which it returns."""
    left, count = np.empty(slots.shape[0], np.int32), 0
    for slot in slots:
        at = _place_of(places, keys, keys[slot])
        if places[at] == _FREE:
            places[at] = slot
        else:
            left[count] = slot
            count += 1
    return left[:count]


class SlotIndex:
    """Slots by the keys int64[slots] that are handed to each call: linear probing, half full at most."""

    def __init__(self) -> None:
        self._places = np.full(_FEWEST, _FREE, dtype=np.int32)
        self._used = 0

    def find(self, keys: NDArray[np.int64], key: int) -> int:
        """The slot of a key, −1 if it has none."""
        return _find(self._places, keys, key) if _LEAST <= key <= _MOST else _FREE

    def find_all(self, keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """int32[n]: the slots of `wanted` int64[n], −1 where there is none."""
        found: NDArray[np.int32] = _find_all(self._places, keys, wanted)
        return found

    def put(self, keys: NDArray[np.int64], slot: int) -> None:
        """Enter a slot under its key, which has none yet."""
        self._make_room(keys, 1)
        _put(self._places, keys, slot)
        self._used += 1

    def put_all(self, keys: NDArray[np.int64], slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Enter slots int32[n] one after the other, but for those whose key has a slot by then: they are returned."""
        self._make_room(keys, len(slots))
        left: NDArray[np.int32] = _put_all(self._places, keys, slots)
        self._used += len(slots) - len(left)
        return left

    def _make_room(self, keys: NDArray[np.int64], count: int) -> None:
        size = len(self._places)
        while 2 * (self._used + count) > size:
            size *= 2
        if size > len(self._places):
            places = np.full(size, _FREE, dtype=np.int32)
            _move(self._places, places, keys)
            self._places = places

    def remove(self, keys: NDArray[np.int64], slot: int) -> None:
        """Take a slot out that was entered under its key."""
        _remove(self._places, keys, int(keys[slot]))
        self._used -= 1
