"""The joiner's memory in a store on disk: as large as the disk, with what is in use as objects.

What time alone does to an impression (it is presumed negative, its deadline passes) is not written: it follows from its
time and from how far the stream has come, and is applied when the impression is read.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from heapq import heappop, heappush
from itertools import islice

from stream_reco.events import Id
from stream_reco.labels.label.delays import AdaptiveWait
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.event_ids_on_disk import OnDiskEventDeduplicator
from stream_reco.labels.memory.groups import GroupKey, Order, place_of
from stream_reco.labels.memory.groups_on_disk import GroupsOnDisk
from stream_reco.labels.memory.keys import of_pair, timed
from stream_reco.labels.memory.meta import VERSION, Meta, read_meta, write_meta
from stream_reco.labels.memory.open_impressions import matching_impression
from stream_reco.labels.memory.overdue import Overdue
from stream_reco.labels.memory.passed_time import let_time_pass
from stream_reco.labels.memory.presumptions import Presumptions, presumed_at
from stream_reco.labels.memory.protocol import DEADLINE, END, PRESUMED, Due, LabelWindows, Reached, StreamProgress
from stream_reco.labels.memory.timeline import Timeline
from stream_reco.labels.memory.turn_back import turn_impressions_back
from stream_reco.labels.memory.unsettled_on_disk import UnsettledActionsOnDisk
from stream_reco.storage.rocksdb import Changes, RocksStore
from stream_reco.storage.sortable_keys import end_of, number_at, of_id

_HOT = 20_000
"""Impressions that are kept as objects beyond a commit: most actions come soon after."""


class OnDisk:
    """Impressions, actions and ids in a `RocksStore` (see `protocol.Memory`)."""

    def __init__(self, store: RocksStore, windows: LabelWindows, order: Order, bounds: AdaptiveWait) -> None:
        """Raises ValueError where the store was begun with other windows or another order."""
        self.windows, self.order, self.store = windows, order, store
        meta = read_meta(store, windows, order)
        self.progress: StreamProgress = meta.progress
        self.delays, self.bounds = meta.delays, bounds
        self._commits = meta.commits
        self._timeline = Timeline(store)
        self._ids = OnDiskEventDeduplicator(store, self.progress, meta.ids_expired)
        self._groups = GroupsOnDisk(store)
        self._reach(meta.reached)
        self._loaded: dict[int, PendingImpression] = {}
        self._changed: dict[int, PendingImpression] = {}
        self._overdue = Overdue()
        self._fresh: dict[bytes, list[PendingImpression]] = {}
        """New impressions by the key of their user and item."""
        self._unsettled = UnsettledActionsOnDisk(store, self.progress, max(1, windows.window_ms // 1024))
        self._unsettled.recall(self._recalled)
        self._presumptions = Presumptions(self.progress, bounds.most_ms, lambda seq, time: self._get(time, seq))
        for shown in self._timeline.since(self.progress.presumed[0] - bounds.most_ms) if windows.adaptive else ():
            self._presumptions.add(shown, shown.time)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    @property
    def uncommitted(self) -> int:
        return self.store.uncommitted + len(self._timeline.fresh) + len(self._changed)

    def seen(self, event_id: Id) -> bool:
        return event_id in self._unsettled.actions or event_id in self._ids

    def seen_among(self, event_ids: Collection[Id]) -> set[Id]:
        return self._unsettled.known(event_ids) | self._ids.known(event_ids)

    def keep_id(self, event_id: Id | None, until: int) -> None:
        if event_id is not None:
            self._ids.keep(event_id, until)

    def add(self, shown: PendingImpression) -> None:
        self._timeline.add(shown)
        self._fresh.setdefault(of_pair(shown.user_id, shown.item_id), []).append(shown)
        if (presumed := presumed_at(shown)) is not None and not self._presumptions.add(shown, shown.time):
            self._overdue.owe(shown)
            self._unsettled.late(presumed, shown)
        for kind, span in self._due_after():
            entry = (shown.time + span, kind, shown.seq)
            if entry < self._reached:
                self._overdue.owe(shown)
                self._unsettled.late(entry, shown)

    def find(self, user_id: Id, item_id: Id, request_id: Id | None, time: int, life: int) -> PendingImpression | None:
        return matching_impression(self._of_pair(user_id, item_id), request_id, time, life)

    def changed(self, shown: PendingImpression) -> None:
        if shown.seq not in self._timeline.fresh:
            self._loaded[shown.seq] = self._changed[shown.seq] = shown

    def matured(self, shown: PendingImpression) -> None:
        """Nothing to write: it follows from the time."""

    def remove(self, shown: PendingImpression) -> None:
        if shown.seq in self._overdue:
            self._leave_group(shown)
        self._timeline.over(shown, self._reached, 2 * self.windows.window_ms)
        self._drop(shown)

    def join(self, key: GroupKey, rank: int, shown: PendingImpression) -> tuple[int, int] | None:
        return self._groups.join(key, rank, shown, self.windows.end_of(shown), self.windows.horizon(self.progress))

    def respond(self, key: GroupKey, rank: int, time: int) -> bool:
        return self._groups.respond(key, rank, time, self.windows.horizon(self.progress))

    def response_falls_due(self, time: int, seq: int, key: GroupKey, rank: int) -> None:
        self._unsettled.response(time, seq, key, rank)

    def passed_over(self, key: GroupKey, rank: int) -> list[PendingImpression]:
        members = (self._get(time, seq) for time, seq in self._groups.passed_over(key, rank))
        return [shown for shown in members if shown is not None and shown.label is None]

    def attribute(self, action: PendingAction, shown: PendingImpression) -> None:
        if action.event_id is not None:
            self._ids.keep(action.event_id, self.windows.end_of(shown), timed(b"i", shown.time, shown.seq))

    def taken(self, event_id: Id) -> PendingImpression | PendingAction | None:
        if (waiting := self._unsettled.actions.get(event_id)) is not None:
            return waiting
        reference = self._ids.reference(event_id)
        if reference.startswith(b"i"):
            return self._get(number_at(reference, 1), number_at(reference, 9))
        action = self._ids.retractable(reference) if reference else None
        return action if action is not None and self.windows.is_retractable(action, self.progress) else None

    def wait(self, action: PendingAction) -> None:
        self._unsettled.wait(action)

    def waited_for(self, shown: PendingImpression) -> list[PendingAction]:
        return self._unsettled.waited_for(shown, self.windows.end_of(shown))

    def retract_waiting(self, action: PendingAction, time: int) -> None:
        self._unsettled.retract(action, time)

    def keep_retractable(self, action: PendingAction) -> None:
        self._ids.keep_retractable(action, action.time + self.windows.window_ms)

    def forget(self, action: PendingAction) -> None:
        self._ids.drop_retractable(action)

    def hold_retraction(self, event_id: Id, time: int, user_id: Id | None) -> None:
        self._unsettled.hold_retraction(event_id, time, user_id, self.progress.seq)

    def held_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        return self._unsettled.held_retraction(event_id)

    def take_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        return self._unsettled.take_retraction(event_id)

    def due(self, watermark: int, presumed: int) -> Generator[Due, None, None]:
        if len(self._loaded) > 2 * _HOT:
            self._trim()
        if self.windows.adaptive:
            yield from self._presumptions.due(presumed)
        streams = [self._timeline.between(self._reached, watermark, kind, span) for kind, span in self._due_after()]
        heads: list[tuple[Reached, int, Due]] = []
        for number, stream in enumerate(streams):
            if (entry := next(stream, None)) is not None:
                heappush(heads, (entry[:3], number, entry))
        while True:
            limit = heads[0][0] if heads else (watermark, -1, -1)
            while (near := self._unsettled.calendar.pop_before(*limit)) is not None:
                yield from self._unsettled_due(near)
            if not heads:
                break
            _, number, entry = heappop(heads)
            yield from self._as_now(entry)
            if (following := next(streams[number], None)) is not None:
                heappush(heads, (following[:3], number, following))
        self._reach(max(self._reached, (watermark, -1, -1)))
        self._ids.expire(watermark)

    def of_user(self, user_id: Id) -> list[PendingImpression]:
        prefix = b"i" + of_id(user_id)
        keys = [key for key, _ in self.store.scan(prefix, end_of(prefix))]
        shown = [self._get(number_at(key, len(key) - 16), number_at(key, len(key) - 8)) for key in keys]
        fresh = [one for one in self._timeline.fresh.values() if one.user_id == user_id]
        return [*fresh, *filter(None, shown)]

    def forget_user(self, user_id: Id) -> None:
        impressions = self.of_user(user_id)
        for one in impressions:
            self.progress.pending -= one.label is None
            for action in one.actions or ():
                if action.event_id is not None:
                    self._ids.drop_reference(action.event_id)
            self._leave_group(one)
            self._timeline.take_out(one, self._reached, 2 * self.windows.window_ms)
            self._drop(one)
        places = (place_of(one, self.order) for one in impressions)
        self._unsettled.forget_responses({place[0] for place in places if place and place[0] not in self._groups})
        if self.order is not None:
            self._groups.forget_user(user_id, self.windows.horizon(self.progress))
        self._ids.forget_user(user_id)
        for action in self._unsettled.forget_user(user_id):
            self.keep_id(action.event_id, action.time + self.windows.window_ms)

    def oldest(self) -> int | None:
        return self._timeline.first(self._reached[0] - self.windows.window_ms)

    def turn_back(self, time: int, watermark: int) -> int:
        """Take what is later than `time` (ms) as of that time, and commit; another memory reads the store then.

        Returns how many impressions were later. To be called when nothing is due.
        """
        self.commit(position := self.store.position or b"")
        later = turn_impressions_back(self.store, self.windows, time, self._unless_over)
        by_time = self.order == "group"
        self._groups.turn_back(time, 2 * self.windows.window_ms, by_time=by_time)
        self._unsettled.turn_back(time, by_time=by_time)
        self._ids.turn_back(time, watermark, 2 * self.windows.window_ms)
        self.progress.stream_time = min(self.progress.stream_time, time)
        self.progress.advanced = min(self.progress.advanced, watermark)
        self.progress.presumed = min(self.progress.presumed, (time, -1, -1))
        self.delays.turn_back(time)
        self._reach(min(self._reached, (watermark, -1, -1)))
        self._loaded = {}
        self.commit(position)
        return later

    def prepare(self) -> Changes:
        """What the next commit will write, without its position."""
        for shown in self._changed.values():
            self._timeline.save(shown)
        for pair, same in self._fresh.items():
            for shown in same:
                self.store.put(pair + timed(b"", shown.time, shown.seq), b"")
        self._timeline.save_fresh()
        self._groups.save(self.windows.horizon(self.progress))
        self._ids.save(self._commits + 1)
        commits, expired = self._commits + 1, self._ids.expired
        meta = Meta(VERSION, self.windows, self.order, self.progress, self._reached, expired, commits, self.delays)
        write_meta(self.store, meta)
        return self.store.changes

    def commit(self, position: bytes) -> Changes:
        """Write all changes, together with `position`, and return them; where it raises StoreError, nothing is lost."""
        self.prepare()
        return self.commit_prepared(position)

    def commit_prepared(self, position: bytes) -> Changes:
        """Commit what `prepare` returned."""
        changes = self.store.commit(position)
        self._commits += 1
        self._loaded.update((shown.seq, shown) for shown in self._timeline.committed())
        self._groups.committed()
        self._ids.committed()
        self._changed, self._fresh = {}, {}
        self._trim()
        return changes

    def _trim(self) -> None:
        """Drop objects that have not changed, the oldest first."""
        for seq in list(islice(self._loaded, max(0, len(self._loaded) - _HOT))):
            if seq not in self._changed:
                del self._loaded[seq]

    def _due_after(self) -> list[tuple[int, int]]:
        presumed = [] if self.windows.presume_ms is None else [(PRESUMED, self.windows.presume_ms)]
        return [*presumed, (DEADLINE, self.windows.window_ms), (END, 2 * self.windows.window_ms)]

    def _reach(self, entry: Reached) -> None:
        self._reached: Reached = entry
        self._groups.reached = entry

    def _unsettled_due(self, entry: Due) -> Iterator[Due]:
        time, kind, seq, what = entry
        self._reach(max(self._reached, (time, kind, seq)))
        if kind not in (PRESUMED, DEADLINE, END):
            yield from self._unsettled.due(entry)
            return
        self._unsettled.dropped(time, kind, seq)
        try:
            if not what.dropped:
                yield entry
        finally:
            still_owed = self._overdue.paid(seq)
            if still_owed is not None and not still_owed.dropped:
                self.changed(still_owed)  # how far it has come does not follow from the time yet

    def _as_now(self, entry: Due) -> Iterator[Due]:
        """An entry of the timeline with its impression in its present state."""
        time, kind, seq, read = entry
        self._reach((time, kind, seq))
        shown = self._known(seq) or read
        try:
            if not shown.dropped:
                yield time, kind, seq, shown if kind == END else self._settled(shown)
        finally:
            self._reach((time, kind, seq + 1))

    def _leave_group(self, shown: PendingImpression) -> None:
        if (place := place_of(shown, self.order)) is not None:
            self._groups.leave(*place, shown.seq, self.windows.horizon(self.progress))

    def _drop(self, shown: PendingImpression) -> None:
        pair = of_pair(shown.user_id, shown.item_id)
        if (same := self._fresh.get(pair)) is not None:
            same[:] = [one for one in same if one.seq != shown.seq]
        self.store.delete(pair + timed(b"", shown.time, shown.seq))
        self._loaded.pop(shown.seq, None)
        self._changed.pop(shown.seq, None)
        shown.dropped = True

    def _known(self, seq: int) -> PendingImpression | None:
        return self._overdue.get(seq) or self._timeline.fresh.get(seq) or self._loaded.get(seq)

    def _get(self, time: int, seq: int) -> PendingImpression | None:
        """The impression, None if it is over."""
        if (time + 2 * self.windows.window_ms, END, seq) < self._reached and seq not in self._overdue:
            return None
        shown = self._known(seq)
        if shown is None and (shown := self._timeline.load(time, seq)) is not None:
            self._loaded[seq] = shown
        return None if shown is None else self._settled(shown)

    def _settled(self, shown: PendingImpression) -> PendingImpression:
        """Apply to an impression what time has done since it was written."""
        if shown.seq not in self._overdue:
            let_time_pass(shown, self.windows, self._reached, self.progress.presumed)
        return shown

    def _unless_over(self, shown: PendingImpression) -> PendingImpression | None:
        return None if (self.windows.end_of(shown), END, shown.seq) < self._reached else self._settled(shown)

    def _recalled(self, time: int, seq: int) -> PendingImpression | None:
        shown = self._overdue.get(seq) or self._timeline.load(time, seq)
        if shown is not None:
            self._overdue.owe(shown)
        return shown

    def _of_pair(self, user_id: Id, item_id: Id) -> list[PendingImpression]:
        """The impressions of an item by a user, in the order of their times."""
        pair = of_pair(user_id, item_id)
        keys, at = (key for key, _ in self.store.scan(pair, end_of(pair))), len(pair)
        found = (self._get(number_at(key, at), number_at(key, at + 8)) for key in keys)
        same = [shown for shown in found if shown is not None]
        if fresh := self._fresh.get(pair):
            same = sorted([*same, *fresh], key=lambda shown: (shown.time, shown.seq))
        return same
