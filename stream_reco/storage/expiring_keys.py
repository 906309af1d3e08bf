"""Keys of a store that expire at some hour of stream time, listed in chunks by hour, so that no others are read."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import end_of, number

_ENCODER = msgspec.msgpack.Encoder()
_KEYS = msgspec.msgpack.Decoder(list[bytes])
_MIN_SWEPT = 1000


class ExpiringKeys:
    """Deletes keys when they expire. Its chunks lie under `letter`, hour and commit; hours count from the epoch."""

    def __init__(self, store: RocksStore, letter: bytes) -> None:
        self._store, self._letter = store, letter
        self._new: list[tuple[int, bytes]] = []
        """The hour after which a key expires, and the key."""
        self._swept = letter
        """All chunks before this key are deleted."""

    def add(self, hour: int, key: bytes) -> None:
        """Check a key once `hour` is over."""
        self._new.append((hour, key))

    def take_after(self, hour: int) -> list[bytes]:
        """Take out all keys that expire after a later hour than this; they are to be added again."""
        taken: list[bytes] = []
        for chunk, value in list(self._store.scan(self._letter + number(hour + 1), end_of(self._letter))):
            taken += _KEYS.decode(value)
            self._store.delete(chunk)
        return taken

    def save(self, commit: int, expired: int, is_over: Callable[[bytes], bool]) -> None:
        """Write new keys under the number of the commit; delete some that expire before the hour `expired`.

        Of those, only keys for which `is_over` holds are deleted: a key may have been put again since.
        """
        hours: dict[int, list[bytes]] = {}
        for hour, key in self._new:
            # A key added after its hour is deleted by the next sweep.
            hours.setdefault(max(hour, expired), []).append(key)
        for hour, keys in hours.items():
            self._store.put(self._letter + number(hour) + number(commit), _ENCODER.encode(keys))
        self._sweep(max(_MIN_SWEPT, 2 * len(self._new)), expired, is_over)

    def rename(self, renamed: Callable[[bytes], bytes]) -> None:
        """The keys have other names from now on; reads all that are listed."""
        self._new = [(hour, renamed(key)) for hour, key in self._new]
        for chunk, value in self._store.everything(self._letter):
            self._store.put(chunk, _ENCODER.encode([renamed(key) for key in _KEYS.decode(value)]))

    def forget(self, prefix: bytes) -> None:
        """Drop the keys that begin with `prefix`, which were deleted; reads all that are listed."""
        self._new = [(hour, key) for hour, key in self._new if not key.startswith(prefix)]
        for chunk, value in self._store.everything(self._letter):
            if prefix in value:
                kept = [key for key in _KEYS.decode(value) if not key.startswith(prefix)]
                self._store.put(chunk, _ENCODER.encode(kept))

    @property
    def fresh(self) -> int:
        """Number of keys that the next `save` writes."""
        return len(self._new)

    def committed(self) -> None:
        """To be called once what `save` wrote is committed."""
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
