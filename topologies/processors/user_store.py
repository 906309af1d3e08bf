"""What is remembered of each user of one partition: recent actions and the record of interests."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.labels.settings import DAY_MS
from stream_reco.signals.shown_items import ShownItems
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import end_of, number, of_id

_USERS, _DAYS = b"U", b"t"


class _RecordOnWire(msgspec.Struct, frozen=True, array_like=True):
    user_id: Id
    items: bytes
    times: bytes
    interests: bytes
    shown: bytes = b""
    shown_counts: bytes = b""
    shown_times: bytes = b""
    """Stores up to version 0.2.0 do not have them."""


class UserRecord(msgspec.Struct):
    """One user: item keys int64[n] and times int64[n] (ms) of the actions, newest first, the interests' record, and
    what was shown and passed over."""

    user_id: Id
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    interests: bytes = b""
    shown: ShownItems = msgspec.field(default_factory=ShownItems)
    """By item keys."""

    @property
    def acted(self) -> int:
        """Time of the newest action, ms; 0 where there is none."""
        return int(self.times[0]) if len(self.times) else 0

    @property
    def last(self) -> int:
        """Time of the newest action, or of the newest impression that counts, ms; 0 where there is none."""
        return max(self.acted, self.shown.newest)

    def add(self, item: int, time: int, length: int, since: int) -> None:
        """Remember an action, of equal times before the others; at most `length` of them, none before `since`.

        What was shown of its item before does not count any more.
        """
        place = int(np.searchsorted(-self.times, -time))
        times = np.insert(self.times, place, time)[:length]
        young = times >= since
        self.items, self.times = np.insert(self.items, place, item)[:length][young], times[young]
        self.shown.remove(item)

    def show(self, item: int, time: int) -> None:
        """Count an impression at `time` (ms), unless an action on the item came in between."""
        if not ((self.items == item) & (self.times >= time)).any():
            self.shown.add(item, time)

    def to_bytes(self) -> bytes:
        """For the store; the arrays are little-endian."""
        items, times = self.items.astype("<i8").tobytes(), self.times.astype("<i8").tobytes()
        return msgspec.msgpack.encode(_RecordOnWire(self.user_id, items, times, self.interests, *self.shown.to_bytes()))


def _record(data: bytes) -> UserRecord:
    wire = msgspec.msgpack.decode(data, type=_RecordOnWire)
    shown = ShownItems.from_bytes(wire.shown, wire.shown_counts, wire.shown_times)
    items, times = np.frombuffer(wire.items, "<i8"), np.frombuffer(wire.times, "<i8")
    return UserRecord(wire.user_id, items, times, wire.interests, shown)


class UserRecords:
    """The records of one partition in its store; changes last with the store's next commit."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store

    def of(self, user_id: Id) -> UserRecord:
        """The user's record; an empty one for an unknown user."""
        data = self._store.get(_USERS + of_id(user_id))
        nothing = np.empty(0, dtype=np.int64)
        return UserRecord(user_id, nothing, nothing) if data is None else _record(data)

    def put(self, record: UserRecord, last_before: int) -> None:
        """Write a record; `last_before` is its `last` as of the time when it was read."""
        user = of_id(record.user_id)
        self._store.put(_USERS + user, record.to_bytes())
        if record.last // DAY_MS != last_before // DAY_MS or not last_before:
            self._store.delete(_day(last_before) + user)
            self._store.put(_day(record.last) + user, b"")

    def forget(self, user_id: Id) -> None:
        """Drop a user."""
        user, last = of_id(user_id), self.of(user_id).last
        self._store.delete(_USERS + user)
        self._store.delete(_day(last) + user)

    def expire(self, before: int) -> int:
        """Drop users without an action or an impression on the day of `before` (ms) or later; returns how many."""
        gone = 0
        for key, _ in self._store.scan(_DAYS, _day(before)):
            self._store.delete(_USERS + key[9:])
            self._store.delete(key)
            gone += 1
        return gone

    def since(self, time: int) -> Iterator[UserRecord]:
        """Committed records of users who acted, or were shown anything, on the day of `time` (ms) or later.

        Safe while another thread writes.
        """
        for key, _ in self._store.scan(_day(time), end_of(_DAYS)):
            data = self._store.get(_USERS + key[9:])
            if data is not None:
                yield _record(data)


def _day(time: int) -> bytes:
    return _DAYS + number(time // DAY_MS)
