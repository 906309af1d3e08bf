"""The joiner's memory as plain objects: fastest, limited by the main memory."""

from __future__ import annotations

from collections.abc import Collection, Generator
from heapq import heappop, heappush

from stream_reco.events import Id
from stream_reco.labels.label.delays import ActionDelays, AdaptiveWait
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.event_ids import InMemoryEventDeduplicator
from stream_reco.labels.memory.groups import GroupKey, Groups, Order, place_of
from stream_reco.labels.memory.open_impressions import OpenImpressions
from stream_reco.labels.memory.presumptions import Presumptions, presumed_at
from stream_reco.labels.memory.protocol import DEADLINE, END, FORGET, PRESUMED, Due, LabelWindows, StreamProgress
from stream_reco.labels.memory.unsettled import UnsettledActions

_IMPRESSION_BYTES = 700
"""An impression with its entries in all indexes, without its features; measured."""


class InMemory:
    """Impressions, actions and ids in dictionaries and one calendar (see `protocol.Memory`)."""

    def __init__(self, windows: LabelWindows, order: Order, bounds: AdaptiveWait) -> None:
        self.windows, self.order = windows, order
        self.progress, self.delays, self.bounds = StreamProgress(), ActionDelays({}), bounds
        self.presumptions = Presumptions(
            self.progress, bounds.most_ms, lambda _, shown: None if shown.dropped else shown
        )
        self.unsettled = UnsettledActions(self.progress, max(1, windows.window_ms // 1024))
        self.open = OpenImpressions()
        self.groups: Groups[PendingImpression] = Groups()
        self.retractable: dict[Id, PendingImpression | PendingAction] = {}
        self.deduplicator = InMemoryEventDeduplicator()
        self.nbytes = self.uncommitted = 0
        self._unmatured: list[tuple[int, int, PendingImpression]] = []
        """Impressions as a heap by time and seq; some may have matured."""

    def seen(self, event_id: Id) -> bool:
        return event_id in self.deduplicator or event_id in self.unsettled.actions

    def seen_among(self, event_ids: Collection[Id]) -> set[Id]:
        return self.unsettled.known(event_ids) | self.deduplicator.known(event_ids)

    def keep_id(self, event_id: Id | None, until: int) -> None:
        if event_id is not None:
            self.deduplicator.add(event_id, self.progress.id_until(until))

    def add(self, shown: PendingImpression) -> None:
        self.open.add(shown)
        heappush(self._unmatured, (shown.time, shown.seq, shown))
        self.nbytes += _IMPRESSION_BYTES + len(shown.features or b"")
        if self.windows.presume_ms is not None:
            self.unsettled.calendar.push(shown.time + self.windows.presume_ms, PRESUMED, shown.seq, shown)
        elif (entry := presumed_at(shown)) is not None and not self.presumptions.add(shown, shown):
            self.unsettled.calendar.push(*entry, shown)
        self.unsettled.calendar.push(self.windows.deadline_of(shown), DEADLINE, shown.seq, shown)

    def find(self, user_id: Id, item_id: Id, request_id: Id | None, time: int, life: int) -> PendingImpression | None:
        return self.open.find(user_id, item_id, request_id, time, life)

    def changed(self, shown: PendingImpression) -> None:
        """The object is all there is."""

    def matured(self, shown: PendingImpression) -> None:
        self.oldest()  # drops it from the heap
        self.unsettled.calendar.push(self.windows.end_of(shown), END, shown.seq, shown)

    def remove(self, shown: PendingImpression) -> None:
        shown.dropped = True
        self.open.remove(shown)
        self.nbytes -= _IMPRESSION_BYTES + len(shown.features or b"")
        for action in shown.actions or ():
            if action.event_id is not None:
                del self.retractable[action.event_id]
        place = place_of(shown, self.order)
        if place is not None:
            self.groups.leave(*place, shown.seq, self.windows.horizon(self.progress))

    def join(self, key: GroupKey, rank: int, shown: PendingImpression) -> tuple[int, int] | None:
        return self.groups.join(key, rank, shown.seq, shown, self.windows.horizon(self.progress))

    def respond(self, key: GroupKey, rank: int, time: int) -> bool:
        return self.groups.respond(key, rank, time, self.windows.horizon(self.progress))

    def response_falls_due(self, time: int, seq: int, key: GroupKey, rank: int) -> None:
        self.unsettled.response(time, seq, key, rank)

    def passed_over(self, key: GroupKey, rank: int) -> list[PendingImpression]:
        return [shown for shown in self.groups.passed_over(key, rank) if shown.label is None]

    def attribute(self, action: PendingAction, shown: PendingImpression) -> None:
        if action.event_id is not None:
            self.retractable[action.event_id] = shown
            self.keep_id(action.event_id, self.windows.end_of(shown))

    def taken(self, event_id: Id) -> PendingImpression | PendingAction | None:
        taken = self.retractable.get(event_id)
        if isinstance(taken, PendingAction) and not self.windows.is_retractable(taken, self.progress):
            return None
        return taken or self.unsettled.actions.get(event_id)

    def wait(self, action: PendingAction) -> None:
        self.unsettled.wait(action)

    def waited_for(self, shown: PendingImpression) -> list[PendingAction]:
        return self.unsettled.waited_for(shown, self.windows.end_of(shown))

    def retract_waiting(self, action: PendingAction, time: int) -> None:
        self.unsettled.retract(action, time)

    def keep_retractable(self, action: PendingAction) -> None:
        if action.event_id is not None:
            until = action.time + self.windows.window_ms
            self.keep_id(action.event_id, until)
            self.retractable[action.event_id] = action
            self.unsettled.calendar.push(until, FORGET, action.seq, action)

    def forget(self, action: PendingAction) -> None:
        if action.event_id is not None and self.retractable.get(action.event_id) is action:
            del self.retractable[action.event_id]

    def hold_retraction(self, event_id: Id, time: int, user_id: Id | None) -> None:
        self.unsettled.hold_retraction(event_id, time, user_id, self.progress.seq)

    def held_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        return self.unsettled.held_retraction(event_id)

    def take_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        return self.unsettled.take_retraction(event_id)

    def due(self, watermark: int, presumed: int) -> Generator[Due, None, None]:
        if self.windows.adaptive:
            yield from self.presumptions.due(presumed)
        while (entry := self.unsettled.calendar.pop_before(watermark)) is not None:
            kind = entry[1]
            if kind in (PRESUMED, DEADLINE, END):
                if not entry[3].dropped:
                    yield entry
            elif kind == FORGET:
                self.forget(entry[3])
            else:
                yield from self.unsettled.due(entry)
        self.deduplicator.expire(watermark)

    def of_user(self, user_id: Id) -> list[PendingImpression]:
        return self.open.of_user(user_id)

    def forget_user(self, user_id: Id) -> None:
        places = []
        for shown in self.open.of_user(user_id):
            self.progress.pending -= shown.label is None
            places.append(place_of(shown, self.order))
            self.remove(shown)
        self.unsettled.forget_responses({place[0] for place in places if place and place[0] not in self.groups})
        for action in self.unsettled.forget_user(user_id):
            self.keep_id(action.event_id, action.time + self.windows.window_ms)
        for event_id in [i for i, taken in self.retractable.items() if taken.user_id == user_id]:
            del self.retractable[event_id]

    def oldest(self) -> int | None:
        unmatured = self._unmatured
        while unmatured and (unmatured[0][2].matured or unmatured[0][2].dropped):
            heappop(unmatured)
        return unmatured[0][0] if unmatured else None
