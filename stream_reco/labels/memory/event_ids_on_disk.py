"""Event ids in a store, each with a reference to its event, and unprompted actions that can be retracted."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingAction
from stream_reco.labels.memory.event_ids import HOUR_MS
from stream_reco.labels.memory.keys import digest_of, of_event, of_events, of_unprompted, with_digest
from stream_reco.labels.memory.protocol import StreamProgress
from stream_reco.labels.settings import DAY_MS
from stream_reco.storage.expiring_keys import ExpiringKeys
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, number_at, of_id

_ENCODER = msgspec.msgpack.Encoder()
_ACTION = msgspec.msgpack.Decoder(PendingAction)


class OnDiskEventDeduplicator:
    """An `ExpiringEventDeduplicator` in a store; steps of an hour. Expired ids leave the disk as commits go by.

    Each id can carry a reference to what it is the id of. What is kept of an id is a digest: it outlives the deletion
    of its user, so that repeated events do not bring the user back.
    """

    def __init__(self, store: RocksStore, progress: StreamProgress, expired: int) -> None:
        self._store, self._progress = store, progress
        self.expired = expired
        """Hours since the epoch; ids that were kept until an earlier one are forgotten."""
        self._expiring = ExpiringKeys(store, b"x")
        self._has_old = next(store.scan(b"e", b"f"), None) is not None
        """Whether an earlier release has left ids that are no digests."""

    def __contains__(self, event_id: Id) -> bool:
        _, value = self._find(event_id)
        return value is not None and number_at(value, 0) >= self.expired

    def known(self, event_ids: Collection[Id]) -> set[Id]:
        """Those of the ids that it has."""
        if self._has_old:
            return {event_id for event_id in event_ids if event_id in self}
        values = self._store.get_many(of_events(event_ids))
        return {
            event_id
            for event_id, value in zip(event_ids, values, strict=True)
            if value is not None and number_at(value, 0) >= self.expired
        }

    def add(self, event_id: Id, until: int) -> bool:
        """Keep an id until the watermark has passed `until` (ms), and a day at least; False if it is known."""
        if event_id in self:
            return False
        self.keep(event_id, until)
        return True

    def keep(self, event_id: Id, until: int, reference: bytes = b"") -> None:
        """`add` an id that is not known, which saves the look-up.

        `reference`: an impression (`i` time seq), an unprompted action (its key), or b"".
        """
        key, hour = of_event(event_id), self._progress.id_until(until) // HOUR_MS
        self._store.put(key, number(hour) + reference)
        self._expiring.add(hour, key)

    def reference(self, event_id: Id) -> bytes:
        """What was kept with the id; b"" where it was nothing, or is no longer there."""
        _, value = self._find(event_id)
        return value[8:] if value is not None else b""

    def drop_reference(self, event_id: Id) -> None:
        """Keep the id without its reference."""
        key, value = self._find(event_id)
        if value is not None:
            self._store.put(key, value[:8])

    def keep_retractable(self, action: PendingAction, until: int) -> None:
        if action.event_id is not None:
            key = of_unprompted(action.user_id, action.seq)
            self._store.put(key, _ENCODER.encode(action))
            self._expiring.add(until // HOUR_MS, key)
            self.keep(action.event_id, until, key)

    def retractable(self, key: bytes) -> PendingAction | None:
        value = self._store.get(key)
        return None if value is None else _ACTION.decode(value)

    def drop_retractable(self, action: PendingAction) -> None:
        if action.event_id is not None:
            self.drop_reference(action.event_id)
            self._store.delete(of_unprompted(action.user_id, action.seq))
            if self._has_old:
                self._store.delete(b"u" + of_id(action.user_id) + number(action.seq))

    def forget_user(self, user_id: Id) -> None:
        if self._has_old:
            self._replace_old()
        for _, value in self._store.everything(b"v" + digest_of(user_id)):
            self.drop_retractable(_ACTION.decode(value))

    def _replace_old(self) -> None:
        """Put digests in place of all ids that an earlier release has left: whose they are is not known."""
        for kind in (b"e", b"u"):
            for key, value in self._store.everything(kind):
                self._store.delete(key)
                kept = value[:8] + with_digest(value[8:]) if kind == b"e" else value
                self._store.put(with_digest(key), kept)
        self._expiring.rename(with_digest)
        self._has_old = False

    def _find(self, event_id: Id) -> tuple[bytes, bytes | None]:
        """The key under which an id is kept, and what is kept there."""
        key = of_event(event_id)
        value = self._store.get(key)
        if value is None and self._has_old:
            old = b"e" + of_id(event_id)
            if (value := self._store.get(old)) is not None:
                return old, value
        return key, value

    def expire(self, watermark: int) -> None:
        self.expired = max(self.expired, watermark // HOUR_MS)

    def turn_back(self, time: int, watermark: int, life: int) -> None:
        """Keep no id longer than one of `time` (ms) lives, `life` ms; actions later than it are of that time."""
        last = (time + max(life, DAY_MS)) // HOUR_MS
        for key in self._expiring.take_after(last):
            value = self._store.get(key)
            if value is not None and key.startswith((b"h", b"e")):
                self._store.put(key, number(min(number_at(value, 0), last)) + value[8:])
            self._expiring.add(last, key)
        for key, value in list(self._store.scan(b"u", b"w")):
            action = _ACTION.decode(value)
            if action.time > time:
                action.time = time
                self._store.put(key, _ENCODER.encode(action))
        self.expired = min(self.expired, watermark // HOUR_MS)

    def save(self, commit: int) -> None:
        """Write when the new ids expire, under the number of the commit; delete some of those that have expired."""
        self._expiring.save(commit, self.expired, self._is_over)

    def committed(self) -> None:
        """To be called once what `save` wrote is committed."""
        self._expiring.committed()

    def _is_over(self, key: bytes) -> bool:
        """Whether to delete a key whose hour has passed: an id may have been added again since, with a later hour."""
        if not key.startswith((b"h", b"e")):
            return True
        value = self._store.get(key)
        return value is not None and number_at(value, 0) < self.expired
