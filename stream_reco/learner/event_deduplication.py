"""Which events have come before, by their ids."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import mix
from stream_reco.events import Id, key_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import HOUR_MS

_SPAN_MS = 8 * HOUR_MS
_KEPT = 4
"""Spans, the one that is being filled included: an id is remembered for a day at least."""
_FIRST_CAPACITY = 1024
_FREE = 0


@njit(cache=True, nogil=True)
def _place_of(slots: NDArray[np.int64], key: int) -> int:
    """Where a key is, or where it belongs."""
    mask = slots.shape[0] - 1
    place = mix(key, 0) & mask
    while slots[place] != _FREE and slots[place] != key:
        place = (place + 1) & mask
    return int(place)


@njit(cache=True, nogil=True)
def _put_all(slots: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
    for key in keys:
        slots[_place_of(slots, key)] = key


class _Span:
    """The keys of some hours; open addressing, at most half full."""

    def __init__(self, keys: NDArray[np.int64]) -> None:
        capacity = _FIRST_CAPACITY
        while capacity < 2 * len(keys):
            capacity *= 2
        self._slots = np.full(capacity, _FREE, dtype=np.int64)
        self.size = len(keys)
        _put_all(self._slots, keys)

    def has(self, key: int) -> bool:
        return bool(self._slots[_place_of(self._slots, key)] == key)

    def put(self, key: int) -> None:
        if 2 * (self.size + 1) > len(self._slots):
            larger = np.full(2 * len(self._slots), _FREE, dtype=np.int64)
            _put_all(larger, self.keys())
            self._slots = larger
        self._slots[_place_of(self._slots, key)] = key
        self.size += 1

    def keys(self) -> NDArray[np.int64]:
        keys: NDArray[np.int64] = self._slots[self._slots != _FREE]
        return keys


class SeenIds:
    """The ids of at least a day of stream time, 16 to 32 bytes each.

    Texts are told apart by 64 bits of their hash: of a hundred million a day, one in some ten thousand days is taken
    for another.
    """

    def __init__(self) -> None:
        self._spans: dict[int, _Span] = {}
        """By the number of the hours that they began in, ascending."""

    def __len__(self) -> int:
        return sum(span.size for span in self._spans.values())

    def add(self, event_id: Id, now: int) -> bool:
        """Remember an id at stream time `now` (ms), which never goes back; False if it was known."""
        key = key_of(event_id, "event") or 1
        if any(span.has(key) for span in self._spans.values()):
            return False
        number = now // _SPAN_MS
        if number not in self._spans:
            for old in [old for old in self._spans if old <= number - _KEPT]:
                del self._spans[old]
            self._spans[number] = _Span(np.empty(0, dtype=np.int64))
        self._spans[number].put(key)
        return True

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        keys = [span.keys() for span in self._spans.values()]
        return {
            "spans": np.array(list(self._spans), dtype=np.int64),
            "sizes": np.array([len(one) for one in keys], dtype=np.int64),
            "keys": np.concatenate([*keys, np.empty(0, dtype=np.int64)]),
        }

    @classmethod
    def from_state(cls, parts: Parts) -> SeenIds:
        """The ids that `state` was taken from."""
        seen = cls()
        ends = np.cumsum(parts["sizes"])
        for number, end, size in zip(parts["spans"].tolist(), ends.tolist(), parts["sizes"].tolist(), strict=True):
            seen._spans[number] = _Span(parts["keys"][end - size : end])
        return seen
