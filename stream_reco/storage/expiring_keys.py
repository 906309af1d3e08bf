"""Keys of a store that go after some hour of stream time, in chunks by hour, so that the rest is not looked at."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number

_ENCODER = msgspec.msgpack.Encoder()
_KEYS = msgspec.msgpack.Decoder(list[bytes])
_LEAST_SWEPT = 1000


class ExpiringKeys:
    """The chunks lie under `letter`, hour and commit; hours count from the epoch."""

    def __init__(self, store: RocksStore, letter: bytes) -> None:
        self._store, self._letter = store, letter
        self._new: list[tuple[int, bytes]] = []
        """The hour after which a key goes, and the key."""
        self._swept = letter
        """Before this key are only those that have gone."""

    def add(self, hour: int, key: bytes) -> None:
        """Have a key looked at once `hour` is over."""
        self._new.append((hour, key))

    def save(self, commit: int, expired: int, is_over: Callable[[bytes], bool]) -> None:
        """Write the new ones under the number of the commit; delete some from before the hour `expired`.

        Of those the ones go that are over: a key may have come again meanwhile.
        """
        hours: dict[int, list[bytes]] = {}
        for hour, key in self._new:
            # What comes after its time is swept with what is next.
            hours.setdefault(max(hour, expired), []).append(key)
        for hour, keys in hours.items():
            self._store.put(self._letter + number(hour) + number(commit), _ENCODER.encode(keys))
        self._sweep(max(_LEAST_SWEPT, 2 * len(self._new)), expired, is_over)

    @property
    def fresh(self) -> int:
        """How many the next `save` writes."""
        return len(self._new)

    def committed(self) -> None:
        """What `save` has put is committed."""
        self._new = []

    def _sweep(self, most: int, expired: int, is_over: Callable[[bytes], bool]) -> None:
        swept = 0
        for chunk, value in self._store.scan(self._swept, self._letter + number(expired)):
            self._swept = chunk
            keys = _KEYS.decode(value)
            for key in keys:
                if is_over(key):
                    self._store.delete(key)
            self._store.delete(chunk)
            swept += len(keys)
            if swept >= most:
                break
