"""Event ids in a store, each with what it is the id of, and unprompted actions that can be retracted."""

from __future__ import annotations

import msgspec

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingAction
from stream_reco.labels.memory.event_ids import HOUR_MS
from stream_reco.labels.memory.protocol import StreamProgress
from stream_reco.storage.expiring_keys import ExpiringKeys
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, number_at, of_id

_ENCODER = msgspec.msgpack.Encoder()
_HELD = msgspec.msgpack.Decoder(PendingAction)


class IdsOnDisk:
    """Ids are forgotten in steps of an hour of stream time, at once for who asks, on disk as commits go by."""

    def __init__(self, store: RocksStore, progress: StreamProgress, expired: int) -> None:
        self._store, self._progress = store, progress
        self.expired = expired
        """Hours since the epoch; ids that were kept until an earlier one are forgotten."""
        self._chunks = ExpiringKeys(store, b"x")

    def seen(self, event_id: Id) -> bool:
        value = self._store.get(_key(event_id))
        return value is not None and number_at(value, 0) >= self.expired

    def keep(self, event_id: Id, until: int, of_what: bytes) -> None:
        """Remember an id, and what it is of: an impression (`i` time seq), an unprompted action (its key), or b""."""
        key, hour = _key(event_id), self._progress.id_until(until) // HOUR_MS
        self._store.put(key, number(hour) + of_what)
        self._chunks.add(hour, key)

    def of(self, event_id: Id) -> bytes:
        """What the id is of; b"" where it is of nothing that is remembered."""
        value = self._store.get(_key(event_id))
        return value[8:] if value is not None else b""

    def let_go(self, event_id: Id) -> None:
        """The id stays, what it is of does not."""
        key = _key(event_id)
        value = self._store.get(key)
        if value is not None:
            self._store.put(key, value[:8])

    def keep_retractable(self, action: PendingAction, until: int) -> None:
        if action.event_id is not None:
            key = b"u" + of_id(action.user_id) + number(action.seq)
            self._store.put(key, _ENCODER.encode(action))
            self._chunks.add(until // HOUR_MS, key)
            self.keep(action.event_id, until, key)

    def retractable(self, key: bytes) -> PendingAction | None:
        value = self._store.get(key)
        return None if value is None else _HELD.decode(value)

    def drop_retractable(self, action: PendingAction) -> None:
        if action.event_id is not None:
            self.let_go(action.event_id)
            self._store.delete(b"u" + of_id(action.user_id) + number(action.seq))

    def forget_user(self, user_id: Id) -> None:
        for _, value in self._store.everything(b"u" + of_id(user_id)):
            self.drop_retractable(_HELD.decode(value))

    def expire(self, watermark: int) -> None:
        self.expired = max(self.expired, watermark // HOUR_MS)

    def save(self, commit: int) -> None:
        """Write when the new ones go, under the number of the commit; remove some of those that have gone."""
        self._chunks.save(commit, self.expired, self._is_over)

    def committed(self) -> None:
        """What `save` has put is committed."""
        self._chunks.committed()

    def _is_over(self, key: bytes) -> bool:
        """Whether a key goes whose hour has come: an id may have come again meanwhile, and be kept anew."""
        if not key.startswith(b"e"):
            return True
        value = self._store.get(key)
        return value is not None and number_at(value, 0) < self.expired


def _key(event_id: Id) -> bytes:
    return b"e" + of_id(event_id)
