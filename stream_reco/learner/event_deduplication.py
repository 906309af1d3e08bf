"""Which events have come before, by hashes of their ids: eight bytes each, for hundreds of millions."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import mix
from stream_reco.events import Id, key_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS, HOUR_MS

_SPAN_MS = 8 * HOUR_MS
"""Ids are forgotten in steps of this length: fewer steps keep ids longer, more steps search more sets for each id."""
_CHECKPOINT_SHIFT = DAY_MS // _SPAN_MS
"""Checkpoints number a span by the time at which its ids came, which is a day before they expire."""
_FIRST_CAPACITY = 1024
_FREE = 0


@njit(cache=True, nogil=True)
def _place_of(slots: NDArray[np.int64], key: int) -> int:
    """The slot of a key, or the free one where it belongs."""
    mask = slots.shape[0] - 1
    place = mix(key, 0) & mask
    while slots[place] != _FREE and slots[place] != key:
        place = (place + 1) & mask
    return int(place)


@njit(cache=True, nogil=True)
def _put_all(slots: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
    for key in keys:
        slots[_place_of(slots, key)] = key


class _KeySet:
    """Keys that expire in one span; open addressing, at most half full."""

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


class HashedEventDeduplicator:
    """An `ExpiringEventDeduplicator` of 64-bit hashes in the main memory, 16 to 32 bytes an id; steps of eight hours.

    Two texts may share a hash, and then the later event is dropped as a repetition: n ids a day, kept for about a day,
    give n² / 2⁶⁴ such events a day (of a hundred million ids a day, one in five years). Integers are their own hashes,
    except that 0 counts as 1.
    """

    def __init__(self) -> None:
        self._spans: dict[int, _KeySet] = {}
        """By the number of the span in which the keys expire (its time // _SPAN_MS)."""
        self._expired: int | None = None

    def __len__(self) -> int:
        return sum(span.size for span in self._spans.values())

    def __contains__(self, event_id: Id) -> bool:
        return self._has(_key(event_id))

    def add(self, event_id: Id, until: int) -> bool:
        """Keep an id until stream time has passed `until` (ms); False if it is known."""
        key = _key(event_id)
        if self._has(key):
            return False
        number = until // _SPAN_MS
        span = self._spans.get(number)
        if span is None:
            span = self._spans[number] = _KeySet(np.empty(0, dtype=np.int64))
        span.put(key)
        return True

    def expire(self, watermark: int) -> None:
        """Forget the ids of all spans before that of `watermark` (ms)."""
        number = watermark // _SPAN_MS
        if self._expired is not None and number <= self._expired:
            return
        self._expired = number
        for past in [each for each in self._spans if each < number]:
            del self._spans[past]

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        keys = [span.keys() for span in self._spans.values()]
        return {
            "spans": np.array(list(self._spans), dtype=np.int64) - _CHECKPOINT_SHIFT,
            "sizes": np.array([len(one) for one in keys], dtype=np.int64),
            "keys": np.concatenate([*keys, np.empty(0, dtype=np.int64)]),
        }

    @classmethod
    def from_state(cls, parts: Parts) -> HashedEventDeduplicator:
        """The ids that `state` was taken from."""
        restored = cls()
        numbers = (parts["spans"] + _CHECKPOINT_SHIFT).tolist()
        ends = np.cumsum(parts["sizes"])
        for number, end, size in zip(numbers, ends.tolist(), parts["sizes"].tolist(), strict=True):
            restored._spans[number] = _KeySet(parts["keys"][end - size : end])
        return restored

    def _has(self, key: int) -> bool:
        return any(span.has(key) for span in self._spans.values())


def _key(event_id: Id) -> int:
    return key_of(event_id, "event") or 1
