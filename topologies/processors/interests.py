"""Users' histories, interests, profiles, and what they passed over, per partition, with copies in Redis for scorers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import msgspec

from stream_reco.events import (
    Action,
    BadEvent,
    Event,
    Id,
    Impression,
    ItemEvent,
    Retraction,
    UserEvent,
    check_time,
    key_of,
)
from stream_reco.interests import Interests, InterestSettings
from stream_reco.labels import LabelSettings
from stream_reco.labels.held_retractions import HeldRetractions
from stream_reco.labels.held_retractions import State as Held
from stream_reco.labels.label.pending import action_of
from stream_reco.labels.memory.event_ids_on_disk import OnDiskEventDeduplicator
from stream_reco.labels.memory.protocol import BEFORE_ALL, StreamProgress
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.signals.active_time import ActiveTime, ActiveTimeState
from stream_reco.signals.content.profiles import features_of
from stream_reco.signals.settings import DAY_MS, RECENT, SignalSettings
from stream_reco.storage.rocksdb import Changes, RocksStore
from topologies.messages.user_deletion import Deletion, decode_message
from topologies.partitions.processor import InputRecord, Output
from topologies.processors.deleted_users import DeletedUsers
from topologies.processors.item_vectors import ItemVectors
from topologies.processors.redis_copies import Copy, CopySource, OwedCopies, UserCopies
from topologies.processors.user_store import UserRecord, UserRecords

_LOGGER = logging.getLogger(__name__)
_META = b"m"


class _Meta(msgspec.Struct, array_like=True):
    progress: StreamProgress
    expired: int = BEFORE_ALL
    commits: int = 0
    owed_since: int | None = None
    """Users whose last event (ms) was before this had their copy in Redis."""
    forgotten: tuple[Id, ...] = ()
    """Users whose copy may still be there, and must not."""
    age: int = 0
    """Number of the last write to Redis that was complete."""
    active_time: ActiveTimeState | None = None
    """Stores up to version 0.2.0 have neither this nor what follows."""
    held: Held = []
    """Retractions that came before their actions."""


class InterestsProcessor:
    """Follows the users of one partition; see `topologies.partitions.processor.Processor`."""

    is_behind = False

    def __init__(
        self,
        settings: tuple[LabelSettings, SignalSettings, InterestSettings],
        future_ms: int,
        vectors: ItemVectors,
        users: RedisUsers,
        session_seconds: float,
        partition: int,
        store: RocksStore,
    ) -> None:
        """Events further ahead of the clock than `future_ms` are passed over: labelling makes them dead letters."""
        self._active_time = ActiveTime()
        self._labels, self._signals, interests = settings
        self._kinds, self._interests = self._labels.action_kinds, Interests(interests, self._active_time)
        self._future_ms, self._vectors, self._store = future_ms, vectors, store
        data = store.get(_META)
        self._meta = _Meta(StreamProgress()) if data is None else msgspec.msgpack.decode(data, type=_Meta)
        self._active_time.restore(self._meta.active_time, self._meta.progress.stream_time)
        self._ids = OnDiskEventDeduplicator(store, self._meta.progress, self._meta.expired)
        self._held = HeldRetractions()
        self._held.recall(self._meta.held)
        self._records = UserRecords(store)
        self._touched: dict[Id, tuple[UserRecord, int]] = {}
        self._forgotten: set[Id] = set()
        self._deleted = DeletedUsers(store, users.ttl_ms)
        self._day, self._deleted_day = self._meta.progress.stream_time // DAY_MS, 0
        source = CopySource(self._states, self._deleted_users)
        # Whoever has acted again since is owed a copy like everybody.
        gone = tuple(user for user in self._meta.forgotten if not self._records.of(user).last)
        owed = OwedCopies(self._meta.owed_since, gone, self._meta.age)
        self._copies = UserCopies(users, str(partition), source, owed, session_seconds)

    def process(self, records: Sequence[InputRecord], now: int) -> list[Output]:
        """Take actions, impressions and what is said of users into what is known of them."""
        for record in records:
            try:
                event = decode_message(record.value)
                if isinstance(event, Deletion):
                    self._forget(event.user_id, now)
                    continue
                check_time(event, now, self._future_ms)
                self._take(event)
            except BadEvent:
                continue
            except Exception:
                # One bad event must not stop those behind it.
                _LOGGER.exception("an event could not be taken in: %s, offset %d", record.topic, record.offset)
        return []

    def _take(self, event: Event) -> None:
        if isinstance(event, ItemEvent):
            return
        if event.event_id is not None and event.event_id in self._ids:
            return
        # First, for an id is kept for a day from the time that the stream has reached with it.
        progress = self._meta.progress
        progress.stream_time = max(progress.stream_time, event.timestamp)
        progress.seq += 1
        self._active_time.reach(event.timestamp)
        self._held.expire(progress.stream_time - self._labels.lateness_ms)
        if isinstance(event, Retraction):
            self._keep_id(event.event_id, event.timestamp)
            self._retract(event)
        elif isinstance(event, Impression):
            self._keep_id(event.event_id, event.timestamp)
            self._touch(event.user_id).show(key_of(event.item_id, "item"), event.timestamp)
        elif isinstance(event, UserEvent):
            self._keep_id(event.event_id, event.timestamp)
            if event.features:
                self._touch(event.user_id).describe(event.features, event.timestamp)
        else:
            self._count(event)

    def _count(self, event: Action) -> None:
        sign = self._kinds.sign(event)
        if sign == 0 or self._held.take(event):
            self._keep_id(event.event_id, event.timestamp)
            return
        retractable = action_of(event, self._meta.progress.seq, float(sign), None)
        retractable.context = None  # nothing here counts contexts
        self._ids.keep_retractable(retractable, event.timestamp + self._labels.window_ms)
        if sign > 0:
            self._act(event.user_id, key_of(event.item_id, "item"), event.timestamp)
        else:
            record = self._touch(event.user_id)
            record.dislike(key_of(event.item_id, "item"), event.timestamp, self._signals.disliked_length)

    def _keep_id(self, event_id: Id | None, time: int) -> None:
        if event_id is not None:
            self._ids.keep(event_id, time)

    def _touch(self, user: Id) -> UserRecord:
        """The record of a user, to be changed."""
        if user not in self._touched:
            self._touched[user] = self._loaded(user)
        return self._touched[user][0]

    def _act(self, user: Id, item: int, time: int) -> None:
        record = self._touch(user)
        whole = time // DAY_MS > record.last_positive // DAY_MS and len(record.items) > 0
        since = self._active_time.earliest(time, int(self._signals.history_days * DAY_MS))
        record.add(item, time, self._signals.history_length, since)
        if whole:
            self._cluster_all(record, time)
            return
        items, times = record.items[:RECENT], record.times[:RECENT]
        self._interests.observe(user, items, times, self._vectors.of(items), time, self._vectors.of)

    def _cluster_all(self, record: UserRecord, time: int) -> None:
        items = record.items
        self._interests.recluster_all(record.user_id, items, record.times, self._vectors.of(items), time)

    def _retract(self, event: Retraction) -> None:
        """Take an action out of its user's record, as if it had not been."""
        reference = self._ids.reference(event.retracts)
        action = self._ids.retractable(reference) if reference else None
        if action is None:
            self._held.hold(event)
            return
        in_time = event.timestamp <= action.time + self._labels.window_ms
        if event.user_id not in (None, action.user_id) or not in_time:
            return
        self._ids.drop_retractable(action)
        record, item = self._touch(action.user_id), key_of(action.item_id, "item")
        if action.weight < 0:
            record.take_dislike_back(item, action.time)
        elif record.take_back(item, action.time):
            self._cluster_all(record, self._meta.progress.stream_time)

    def _forget(self, user: Id, now: int) -> None:
        self._records.forget(user)
        self._deleted.add(user, now)
        self._interests.forget(user)
        self._ids.forget_user(user)
        self._held.forget_user(user)
        self._touched.pop(user, None)
        self._forgotten.add(user)

    def _loaded(self, user: Id) -> tuple[UserRecord, int]:
        record = self._records.of(user)
        self._interests.restore(user, record.interests)
        return record, record.last

    def advance(self, now: int, *, caught_up: bool) -> list[Output]:  # noqa: ARG002 - time is the events' own here
        """Once a day drop users who have been idle, or were deleted, for too long."""
        if now // DAY_MS > self._deleted_day:
            self._deleted_day = now // DAY_MS
            self._deleted.expire(now)
        time = self._meta.progress.stream_time
        if time // DAY_MS > self._day:
            self._day = time // DAY_MS
            idle_since = self._active_time.earliest(time, int(self._signals.user_idle_days * DAY_MS))
            gone = self._records.expire(idle_since)
            if gone:
                _LOGGER.info("%d users left who were idle", gone)
        self._ids.expire(time)
        return []

    def prepare(self) -> Changes:
        """What the next `commit` will write."""
        for user, (record, before) in self._touched.items():
            record.interests = self._interests.record_of(user)
            self._records.put(record, before)
        self._ids.save(self._meta.commits + 1)
        owed, now = self._copies.owed, self._active_time.state()
        since = min((time for time in (owed.since, self._least_last()) if time is not None), default=None)
        forgotten, commits = (*owed.forgotten, *self._forgotten), self._meta.commits + 1
        held = self._held.state()
        meta = _Meta(self._meta.progress, self._ids.expired, commits, since, forgotten, owed.age, now, held)
        self._store.put(_META, msgspec.msgpack.encode(meta))
        return self._store.changes

    def commit(self, position: bytes) -> None:
        """Make it durable, and queue the copies for Redis."""
        self._store.commit(position)
        self._ids.committed()
        self._meta.commits += 1
        written = {
            user: self._state_with(self._interests, record).to_bytes for user, (record, _) in self._touched.items()
        }
        self._copies.put({**dict.fromkeys(self._forgotten), **written}, self._least_last())
        for user in self._touched:
            self._interests.forget(user)
        self._touched, self._forgotten = {}, set()

    def close(self) -> None:
        """End the thread that writes copies."""
        self._copies.close()

    def _least_last(self) -> int | None:
        return min((record.last for record, _ in self._touched.values()), default=None)

    @property
    def _now(self) -> int:
        return max(self._meta.progress.stream_time, 0)

    def _states(self, since: int) -> Iterator[tuple[Id, Copy]]:
        """What Redis should have of the users who acted since then (ms); for the thread of the copies."""
        for record in self._records.since(since):
            yield record.user_id, self._state(record).to_bytes

    def _deleted_users(self) -> Iterator[Id]:
        """Users who were deleted and have not acted again; for the thread of the copies."""
        return (user for user in self._deleted.all() if not self._records.of(user).last)

    def _state(self, record: UserRecord) -> UserState:
        interests = Interests(self._interests.settings, self._active_time)
        interests.restore(record.user_id, record.interests)
        return self._state_with(interests, record)

    def _state_with(self, interests: Interests, record: UserRecord) -> UserState:
        medoids, profile = interests.medoids(record.user_id, self._now), features_of(record.profile)
        return UserState(
            record.items,
            record.times,
            medoids,
            self._now,
            shown=record.shown,
            disliked=record.disliked,
            profile=profile,
        )
