"""Groups of impressions in a store; members are identified by time and seq."""

from __future__ import annotations

from heapq import heapify, heappush
from itertools import chain

import msgspec

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingImpression
from stream_reco.labels.memory.event_ids import HOUR_MS
from stream_reco.labels.memory.groups import Group, GroupKey
from stream_reco.labels.memory.keys import of_group
from stream_reco.labels.memory.protocol import BEFORE_ALL, END, NEVER, Reached
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, of_id

Member = tuple[int, int]
_MOST_SWEPT = 10_000


class _StoredGroup(msgspec.Struct, array_like=True):
    """A group in the store; `members` are (end, seq), where `end` (ms) is the last time at which their labels can
    change; after `hour` it is checked whether all are over."""

    members: list[tuple[int, int]]
    hour: int
    waiting: list[tuple[int, int, Member]]
    ranks: list[int]
    times: list[int]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_StoredGroup)


def is_over(member: tuple[int, int], reached: Reached) -> bool:
    """Whether the label of a member (end, seq) can change no more."""
    return (member[0], END, member[1]) < reached


class _LoadedGroup:
    """A group that is in use between two commits."""

    def __init__(self, kept: _StoredGroup | None, reached: Reached) -> None:
        self.group: Group[Member] = Group()
        self.members: list[tuple[int, int]] = []
        self.hour, self.changed = -(2**63), False
        if kept is not None:
            self.hour, self.members = kept.hour, [one for one in kept.members if not is_over(one, reached)]
            heapify(self.members)
            live = {seq for _, seq in self.members}
            if live:
                self.group.waiting = [one for one in kept.waiting if one[1] in live]
                heapify(self.group.waiting)
                self.group.ranks, self.group.times = kept.ranks, kept.times

    def stored(self) -> _StoredGroup:
        group = self.group
        return _StoredGroup(self.members, self.hour, group.waiting, group.ranks, group.times)


class GroupsOnDisk:
    """All groups with a member that is not over."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store
        self.reached: Reached = (BEFORE_ALL, -1, -1)
        """What fell due before is done."""
        self._swept = b"y"
        """All keys before this one are deleted."""
        self._loaded: dict[GroupKey, _LoadedGroup] = {}

    def join(self, key: GroupKey, rank: int, shown: PendingImpression, end: int, since: int) -> tuple[int, int] | None:
        """Add an impression; return (time, rank) of the earliest response from `since` on to a later one, if any."""
        known = self._of(key)
        # A member that comes after its end leaves only by `leave`.
        past = is_over((end, shown.seq), self.reached)
        heappush(known.members, (NEVER if past else end, shown.seq))
        known.changed = True
        return known.group.join(rank, shown.seq, (shown.time, shown.seq), since)

    def respond(self, key: GroupKey, rank: int, time: int, since: int) -> bool:
        """Note a response at `time` to the one at `rank`; return whether none from `since` on has said as much."""
        known = self._of(key)
        new = known.group.respond(rank, time, since)
        known.changed |= new
        return new

    def passed_over(self, key: GroupKey, rank: int) -> list[Member]:
        """Take out the members before `rank`."""
        known = self._of(key)
        taken = known.group.passed_over(rank)
        known.changed |= bool(taken)
        return taken

    def leave(self, key: GroupKey, rank: int, seq: int, before: int) -> None:
        """A member goes before its time."""
        known = self._of(key)
        known.group.leave(rank, seq, before)
        known.members = [one for one in known.members if one[1] != seq]
        heapify(known.members)
        if not known.members:
            known.group = Group()  # with its responses
        known.changed = True

    def turn_back(self, time: int, life: int, *, by_time: bool) -> None:
        """In the store: members and responses later than `time` (ms) are of that time; `by_time`: ranks are times too.

        Members are over `life` ms after their time. Nothing may be loaded.
        """
        for at, value in list(self._store.scan(b"g", b"h")):
            known = _LoadedGroup(_DECODER.decode(value), self.reached)
            self._store.delete(_look_key(known.hour, at))
            if not known.members:
                self._store.delete(at)
                continue
            group = Group[Member]()
            for rank, seq, (shown, _) in known.group.waiting:
                heappush(group.waiting, (min(rank, time) if by_time else rank, seq, (min(shown, time), seq)))
            for rank, responded in zip(known.group.ranks, known.group.times, strict=True):
                group.respond(min(rank, time) if by_time else rank, min(responded, time), BEFORE_ALL)
            members = [(end if end == NEVER else min(end, time + life), seq) for end, seq in known.members]
            known.group, known.members = group, sorted(members)
            known.hour = max((end for end, _ in members if end != NEVER), default=time) // HOUR_MS
            self._store.put(_look_key(known.hour, at), b"")
            self._store.put(at, _ENCODER.encode(known.stored()))

    def __contains__(self, key: GroupKey) -> bool:
        """Whether a group has a member that is not over."""
        return bool(self._of(key).members)

    def forget_user(self, user_id: Id, before: int) -> None:
        """Delete every group without members that may have been the user's alone, and all that lists it.

        The user's impressions have left. Reads the names of all groups. `before` is that of `save`.
        """
        self.save(before)
        self._loaded = {}
        own, now = b"g" + of_id(user_id), number(self.reached[0] // HOUR_MS + 1)
        fresh = [(key, value) for key, value in self._store.changes.items() if key[:1] == b"y" and value is not None]
        for key, _ in chain(self._store.scan(b"y", b"z"), fresh):
            at = key[9:]
            kept = self._store.get(at)
            # A group whose members are all over, the user's among them, may not be swept yet.
            if kept is not None and (at.startswith(own) or key[1:9] < now):
                kept = kept if _LoadedGroup(_DECODER.decode(kept), self.reached).members else None
            if kept is None:
                self._store.delete(at)
                self._store.delete(key)

    def save(self, before: int) -> None:
        """Write what has changed, without responses at times `before` the oldest that can still be remembered."""
        for key, known in self._loaded.items():
            if known.changed:
                self._save(of_group(key), known, before)
        self._sweep()

    def committed(self) -> None:
        """To be called once what `save` wrote is committed."""
        self._loaded = {}

    def _save(self, at: bytes, known: _LoadedGroup, before: int) -> None:
        if not known.members:
            self._store.delete(at)
            if known.hour >= self.reached[0] // HOUR_MS:
                self._store.delete(_look_key(known.hour, at))
            return
        hour = self._hour_of(known)
        if hour > known.hour:
            known.hour = hour
            self._store.put(_look_key(hour, at), b"")
        known.group.forget_responses(before)
        self._store.put(at, _ENCODER.encode(known.stored()))

    def _of(self, key: GroupKey) -> _LoadedGroup:
        known = self._loaded.get(key)
        if known is None:
            kept = self._store.get(of_group(key))
            known = self._loaded[key] = _LoadedGroup(None if kept is None else _DECODER.decode(kept), self.reached)
        elif known.members and is_over(known.members[0], self.reached):
            known = self._loaded[key] = _LoadedGroup(known.stored(), self.reached)
            known.changed = True
        return known

    def _hour_of(self, known: _LoadedGroup) -> int:
        """When to look whether all members are over; those that leave only by `leave` have no time."""
        ends = (end for end, _ in known.members if end != NEVER)
        return max(max(ends, default=self.reached[0]), self.reached[0]) // HOUR_MS

    def _sweep(self) -> None:
        """Remove groups that are over, some at a time."""
        now = self.reached[0] // HOUR_MS
        for count, (key, _) in enumerate(self._store.scan(self._swept, b"y" + number(now)), start=1):
            self._swept = key
            kept = self._store.get(key[9:])
            known = None if kept is None else _LoadedGroup(_DECODER.decode(kept), self.reached)
            if known is not None and known.members:
                self._store.put(_look_key(max(self._hour_of(known), now + 1), key[9:]), b"")
            else:
                self._store.delete(key[9:])
            self._store.delete(key)
            if count == _MOST_SWEPT:
                break


def _look_key(hour: int, at: bytes) -> bytes:
    """The key under which a group is listed to be checked after an hour."""
    return b"y" + number(hour) + at
