"""Features that slates were served with, in a store until the impressions come, for a day of stream time at most."""

from __future__ import annotations

from stream_reco import metrics
from stream_reco.events import Id
from stream_reco.labels.memory.event_ids import HOUR_MS
from stream_reco.labels.memory.protocol import BEFORE_ALL
from stream_reco.labels.settings import DAY_MS
from stream_reco.storage.expiring_keys import ExpiringKeys
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, number_at, of_id

_COMMITS = b"c"
_UNMET = 20_000
"""Impressions without features that are remembered, to count the features that come after them."""


class ServedFeatures:
    """Opaque bytes by user, request and item; changes last with the next commit of the store."""

    def __init__(self, store: RocksStore, watermark: int | None) -> None:
        """`watermark` (ms) is how far the stream has come; None: nowhere."""
        self._store = store
        data = store.get(_COMMITS)
        self._commits = 0 if data is None else number_at(data, 0)
        self._expiring = ExpiringKeys(store, b"z")
        self._oldest = BEFORE_ALL
        self._unmet: dict[bytes, None] = {}
        if watermark is not None:
            self.expire(watermark)

    def hold(self, user_id: Id, request_id: Id, item_id: Id, time: int, features: bytes) -> None:
        """Keep what was served at `time` (ms); not if its impression was asked for lately, or it is too old."""
        key = _key(user_id, request_id) + of_id(item_id)
        if key in self._unmet:
            metrics.SERVED_FEATURES.labels("late").inc()
        elif self._is_old(time):
            metrics.SERVED_FEATURES.labels("expired").inc()
        else:
            self._store.put(key, number(time) + features)
            self._expiring.add(time // HOUR_MS, key)

    def of(self, user_id: Id, request_id: Id, item_id: Id) -> bytes | None:
        """What an impression was served with."""
        key = _key(user_id, request_id) + of_id(item_id)
        value = self._store.get(key)
        if value is not None and not self._is_old(number_at(value, 0)):
            return value[8:]
        self._unmet[key] = None
        if len(self._unmet) > _UNMET:
            del self._unmet[next(iter(self._unmet))]
        return None

    def joined(self, user_id: Id, request_id: Id, item_id: Id) -> None:
        """The impression has its features now; delete them here."""
        metrics.SERVED_FEATURES.labels("joined").inc()
        self._store.delete(_key(user_id, request_id) + of_id(item_id))

    def forget_user(self, user_id: Id) -> None:
        prefix = b"f" + of_id(user_id)
        for key, _ in self._store.everything(prefix):
            self._store.delete(key)
        self._expiring.forget(prefix)
        self._unmet = {key: None for key in self._unmet if not key.startswith(prefix)}

    def expire(self, watermark: int) -> None:
        """Forget what was served more than a day before `watermark` (ms); on disk as commits go by."""
        self._oldest = max(self._oldest, watermark - DAY_MS)

    def save(self) -> None:
        """Put what the next commit has to write."""
        if self._expiring.fresh:
            self._store.put(_COMMITS, number(self._commits + 1))
        self._expiring.save(self._commits + 1, self._oldest // HOUR_MS, self._is_over)

    def committed(self) -> None:
        """To be called once what `save` wrote is committed."""
        self._commits += self._expiring.fresh > 0
        self._expiring.committed()

    def _is_old(self, time: int) -> bool:
        return time < self._oldest

    def _is_over(self, key: bytes) -> bool:
        """Whether it is still there, and old: it may have been served again since."""
        value = self._store.get(key)
        if value is None or not self._is_old(number_at(value, 0)):
            return False
        metrics.SERVED_FEATURES.labels("expired").inc()
        return True


def _key(user_id: Id, request_id: Id) -> bytes:
    return b"f" + of_id(user_id) + of_id(request_id)
