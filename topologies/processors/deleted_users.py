"""Users who were deleted lately: a Redis that is restored to an earlier state still has their copies."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream_reco.events import Id
from stream_reco.labels.settings import DAY_MS
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import end_of, number, of_id

_DELETED = b"D"


class DeletedUsers:
    """Ids in the store of a partition, by the day of their deletion, for as long as a copy may live in Redis.

    `ttl_ms` is how long that is. Changes last with the store's next commit.
    """

    def __init__(self, store: RocksStore, ttl_ms: int) -> None:
        self._store, self._ttl_ms = store, ttl_ms

    def add(self, user_id: Id, now: int) -> None:
        """Remember a deletion; `now` is the wall clock (ms)."""
        self._store.put(_day(now) + of_id(user_id), msgspec.msgpack.encode(user_id))

    def expire(self, now: int) -> None:
        """Drop those whose copies have expired wherever they were."""
        for key, _ in self._store.scan(_DELETED, _day(now - self._ttl_ms)):
            self._store.delete(key)

    def all(self) -> Iterator[Id]:
        """Those of committed deletions; safe while another thread writes."""
        for _, data in self._store.scan(_DELETED, end_of(_DELETED)):
            yield msgspec.msgpack.decode(data, type=Id)


def _day(time: int) -> bytes:
    return _DELETED + number(time // DAY_MS)
