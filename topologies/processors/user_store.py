"""What is remembered of each user of one partition: recent actions, negative ones, interests, the profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.labels.settings import DAY_MS
from stream_reco.signals.content.profiles import Profile, state_in
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
    """Stores up to version 0.2.0 have neither this nor what follows."""
    shown_counts: bytes = b""
    shown_times: bytes = b""
    disliked: bytes = b""
    disliked_times: bytes = b""
    profile: Profile = {}


_NOTHING: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class UserRecord(msgspec.Struct):
    """One user: item keys int64[n] and times int64[n] (ms) of the positive actions, newest first, and the interests'
    record; what was shown and passed over; the same as of the positive actions of the negative ones; what is said of
    the user."""

    user_id: Id
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    interests: bytes = b""
    shown: ShownItems = msgspec.field(default_factory=ShownItems)
    """By item keys."""
    disliked: NDArray[np.int64] = _NOTHING
    disliked_times: NDArray[np.int64] = _NOTHING
    profile: Profile = msgspec.field(default_factory=dict)

    @property
    def last_positive(self) -> int:
        """Time of the newest positive action, ms; 0 where there is none."""
        return int(self.times.max(initial=0))

    @property
    def last(self) -> int:
        """Time of the newest action, impression that counts, or statement, ms; 0 where there is none."""
        stated = max((time for time, _ in self.profile.values()), default=0)
        return max(self.last_positive, int(self.disliked_times.max(initial=0)), self.shown.newest, stated)

    def add(self, item: int, time: int, length: int, since: int) -> None:
        """Remember an action, of equal times before the others; at most `length` of them, none before `since`.

        What was shown of its item before does not count any more.
        """
        items, times = _with(self.items, self.times, item, time, length)
        young = times >= since
        self.items, self.times = items[young], times[young]
        self.shown.remove(item)

    def show(self, item: int, time: int) -> None:
        """Count an impression at `time` (ms), unless an action on the item came in between."""
        if not ((self.items == item) & (self.times >= time)).any():
            self.shown.add(item, time)

    def take_back(self, item: int, time: int) -> bool:
        """Forget one action on an item at exactly `time` (ms); False where there is none."""
        before, (self.items, self.times) = len(self.items), _without(self.items, self.times, item, time)
        return len(self.items) < before

    def dislike(self, item: int, time: int, length: int) -> None:
        """Remember a negative action; at most `length` of them."""
        self.disliked, self.disliked_times = _with(self.disliked, self.disliked_times, item, time, length)

    def take_dislike_back(self, item: int, time: int) -> None:
        """Forget one negative action on an item at exactly `time` (ms)."""
        self.disliked, self.disliked_times = _without(self.disliked, self.disliked_times, item, time)

    def describe(self, features: Mapping[str, Any], time: int) -> None:
        """Take over what is said of the user at `time` (ms)."""
        state_in(self.profile, features, time)

    def to_bytes(self) -> bytes:
        """For the store; the arrays are little-endian."""
        items, times, disliked, disliked_times = (
            column.astype("<i8").tobytes() for column in (self.items, self.times, self.disliked, self.disliked_times)
        )
        shown = self.shown.to_bytes()
        wire = _RecordOnWire(self.user_id, items, times, self.interests, *shown, disliked, disliked_times, self.profile)
        return msgspec.msgpack.encode(wire)


def _record(data: bytes) -> UserRecord:
    wire = msgspec.msgpack.decode(data, type=_RecordOnWire)
    shown = ShownItems.from_bytes(wire.shown, wire.shown_counts, wire.shown_times)
    items, times, disliked, disliked_times = (
        np.frombuffer(column, "<i8") for column in (wire.items, wire.times, wire.disliked, wire.disliked_times)
    )
    return UserRecord(wire.user_id, items, times, wire.interests, shown, disliked, disliked_times, wire.profile)


Column = NDArray[np.int64]


def _with(items: Column, times: Column, item: int, time: int, length: int) -> tuple[Column, Column]:
    """Items and times, newest first, with one more, of equal times before the others; at most `length`."""
    place = int(np.searchsorted(-times, -time))
    return np.insert(items, place, item)[:length], np.insert(times, place, time)[:length]


def _without(items: Column, times: Column, item: int, time: int) -> tuple[Column, Column]:
    """Items and times without the first that is exactly this one."""
    found = np.flatnonzero((items == item) & (times == time))[:1]
    return np.delete(items, found), np.delete(times, found)


class UserRecords:
    """The records of one partition in its store; changes last with the store's next commit."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store

    def of(self, user_id: Id) -> UserRecord:
        """The user's record; an empty one for an unknown user."""
        data = self._store.get(_USERS + of_id(user_id))
        return UserRecord(user_id, _NOTHING, _NOTHING) if data is None else _record(data)

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
        """Drop users of whom nothing is known from the day of `before` (ms) or later; returns how many."""
        gone = 0
        for key, _ in self._store.scan(_DAYS, _day(before)):
            self._store.delete(_USERS + key[9:])
            self._store.delete(key)
            gone += 1
        return gone

    def since(self, time: int) -> Iterator[UserRecord]:
        """Committed records of users of whom anything is known from the day of `time` (ms) or later.

        Safe while another thread writes.
        """
        for key, _ in self._store.scan(_day(time), end_of(_DAYS)):
            data = self._store.get(_USERS + key[9:])
            if data is not None:
                yield _record(data)


def _day(time: int) -> bytes:
    return _DAYS + number(time // DAY_MS)
