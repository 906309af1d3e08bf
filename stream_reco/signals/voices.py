"""One person is one voice: which of a user's actions were counted, as one number beside each remembered action.

A voice packs an action's number among those of its user (from bit 32), its kind as a hash of 31 bits (from bit 1), and
whether it was silent, which is to say not counted because its user had been heard (bit 0). 0 is an action that a
release up to version 0.2.0 has remembered: counted, of an unknown kind.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

_KIND_BITS = 31
_ARRIVAL_SHIFT = _KIND_BITS + 1
_KINDS_KNOWN = 1024
"""Kinds whose hashes are kept at hand: a shop has a dozen."""


@lru_cache(_KINDS_KNOWN)
def number_of_kind(kind: str) -> int:
    """31 bits that stand for a kind of action, the same in every process; 0 is no kind."""
    return (xxh3_64_intdigest(kind.encode()) & ((1 << _KIND_BITS) - 1)) or 1


def voice_of(arrival: int, kind: int, *, silent: bool) -> int:
    """The voice of a user's action number `arrival`, of the kind of this number."""
    return arrival << _ARRIVAL_SHIFT | kind << 1 | silent


def arrivals(voices: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: the numbers of the actions among those of their user."""
    numbers: NDArray[np.int64] = voices >> _ARRIVAL_SHIFT
    return numbers


def kinds(voices: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: the numbers of the kinds."""
    numbers: NDArray[np.int64] = (voices >> 1) & ((1 << _KIND_BITS) - 1)
    return numbers


def silent(voices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[n]: which were not counted."""
    return (voices & 1).astype(np.bool_)


@njit(cache=True, nogil=True)
def is_heard(
    slots: NDArray[np.int32],
    times: NDArray[np.int64],
    voices: NDArray[np.int64],
    action: tuple[int, int, int],
    span: int,
) -> bool:
    """Whether an action (item slot, kind, time in ms) adds nothing: a like one was counted less than `span` ms off.

    `slots` int32[n], `times` int64[n] and `voices` int64[n] are actions of its user; slot −1 is none.
    """
    slot, kind, now = action
    for place in range(slots.shape[0]):
        is_same = slots[place] == slot and (voices[place] >> 1) & ((1 << _KIND_BITS) - 1) == kind
        if is_same and not voices[place] & 1 and abs(now - times[place]) < span:
            return True
    return False


@njit(cache=True, nogil=True)
def once(
    slots: NDArray[np.int32], times: NDArray[np.int64], voices: NDArray[np.int64], span: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Slots and times without what a newer action of the same kind and item, less than `span` ms off, says already.

    Of the same lengths as given, newest first, with slot −1 at the end.
    """
    said, at = np.full_like(slots, -1), np.zeros_like(times)
    kept = np.empty(slots.shape[0], np.int64)
    count = 0
    for place in range(slots.shape[0]):
        if slots[place] < 0:
            break
        kind = (voices[place] >> 1) & ((1 << _KIND_BITS) - 1)
        again = False
        for other in range(count):
            if said[other] == slots[place] and kept[other] == kind and at[other] - times[place] < span:
                again = True
        if not again:
            said[count], at[count], kept[count] = slots[place], times[place], kind
            count += 1
    return said, at
