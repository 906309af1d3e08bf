"""All that the joiner remembers, and what falls due when."""

from __future__ import annotations

from typing import Any

from stream_reco.events import Id
from stream_reco.labels.attribution import OpenImpressions, WaitingActions
from stream_reco.labels.calendar import Calendar
from stream_reco.labels.groups import Groups, Order
from stream_reco.labels.pending import Held, Shown
from stream_reco.labels.remembered import Remembered
from stream_reco.labels.settings import DAY_MS
from stream_reco.labels.state import MemoryState

BEFORE_ALL = -(2**63)

# What falls due at one time does so in this order: a response at the deadline still tells.
RESPONSE, PRESUMED, DEADLINE, END, WAITED, FORGET, ORPHAN = range(7)


class Memory:
    """Impressions, actions and ids, each until it can change nothing any more."""

    def __init__(self, window_ms: int, order: Order, presume_ms: int | None = None) -> None:
        self.window_ms, self.presume_ms = window_ms, presume_ms
        self.stream_time = self.advanced = BEFORE_ALL
        self.seq = self.pending = self.duplicates = self.late = self.orphans = 0
        self.open = OpenImpressions()
        self.waiting = WaitingActions()
        self.groups = Groups(order)
        self.taken: dict[Id, Shown | Held] = {}
        self.retractions: dict[Id, tuple[int, int, Id | None]] = {}
        self.remembered = Remembered()
        # What is due depends on the kind: an impression, an action, an event_id, or a group and a rank in it.
        self.calendar: Calendar[Any] = Calendar(max(1, window_ms // 1024))

    def end_of(self, shown: Shown) -> int:
        """The last time at which the label of an impression can change."""
        return shown.time + 2 * self.window_ms

    def keep_id(self, event_id: Id | None, until: int) -> None:
        """Remember an id until `until`, and a day of stream time at least."""
        if event_id is not None:
            self.remembered.keep(event_id, max(until, self.stream_time + DAY_MS))

    def add(self, shown: Shown) -> None:
        self.open.add(shown)
        if shown.label is None:
            self.pending += 1
            if self.presume_ms is not None:
                self.calendar.push(shown.time + self.presume_ms, PRESUMED, shown.seq, shown)
        if shown.matured:
            self.calendar.push(self.end_of(shown), END, shown.seq, shown)
        else:
            self.calendar.push(shown.time + self.window_ms, DEADLINE, shown.seq, shown)

    def remove(self, shown: Shown) -> None:
        shown.dropped = True
        self.open.remove(shown)
        if shown.label is None:
            self.pending -= 1
            shown.label = 0  # so that its group passes over it
        for action in shown.actions or ():
            if action.event_id is not None:
                del self.taken[action.event_id]
        place = self.groups.place(shown)
        if place is not None:
            self.groups.leave(place[0], self.advanced - 2 * self.window_ms)

    def wait(self, action: Held) -> None:
        """Hold an action for its impression; its id is remembered without an end."""
        self.waiting.add(action)
        if action.event_id is not None:
            self.remembered.add(action.event_id)
            self.taken[action.event_id] = action
        self.calendar.push(action.time, WAITED, action.seq, action)

    def keep_retractable(self, action: Held) -> None:
        """Hold an unprompted action for as long as it can be retracted: one window."""
        if action.event_id is not None:
            self.taken[action.event_id] = action
            self.calendar.push(action.time + self.window_ms, FORGET, action.seq, action)

    def forget(self, action: Held) -> None:
        if action.event_id is not None and self.taken.get(action.event_id) is action:
            del self.taken[action.event_id]

    def hold_retraction(self, event_id: Id, held: tuple[int, int, Id | None]) -> None:
        """Hold a retraction (time, seq, user_id) until its own time has passed, for its action may still come."""
        self.retractions[event_id] = held
        self.calendar.push(held[0], ORPHAN, held[1], event_id)

    def forget_user(self, user_id: Id) -> None:
        for shown in self.open.of_user(user_id):
            self.remove(shown)
        for action in self.waiting.of_user(user_id):
            action.dropped = True
            self.waiting.remove(action)
            self.keep_id(action.event_id, action.time + self.window_ms)
        for event_id in [i for i, taken in self.taken.items() if taken.user_id == user_id]:
            del self.taken[event_id]
        for event_id in [i for i, (_, _, user) in self.retractions.items() if user == user_id]:
            del self.retractions[event_id]

    def state(self) -> MemoryState:
        return MemoryState(
            times=(self.stream_time, self.advanced, self.seq),
            counts=(self.duplicates, self.late, self.orphans),
            shown=list(self.open),
            waiting=list(self.waiting),
            unprompted=[taken for taken in self.taken.values() if isinstance(taken, Held) and taken.live],
            retractions=self.retractions,
            responses=self.groups.responses(),
            due=[(time, seq, *due) for time, kind, seq, due in self.calendar if kind == RESPONSE],
            remembered=self.remembered.hours(),
        )

    def recall(self, state: MemoryState) -> None:
        """The inverse of `state`, for a new Memory with the same settings."""
        self.stream_time, self.advanced, self.seq = state.times
        self.duplicates, self.late, self.orphans = state.counts
        self.remembered = Remembered.of(state.remembered)
        for shown in state.shown:
            self.add(shown)
            if (place := self.groups.place(shown)) is not None:
                self.groups.join(*place, shown)
            for action in shown.actions or ():
                if action.event_id is not None:
                    self.taken[action.event_id] = shown
        for action in state.waiting:
            self.wait(action)
        for action in state.unprompted:
            self.keep_retractable(action)
        for event_id, held in state.retractions.items():
            self.hold_retraction(event_id, held)
        for response in state.responses:
            self.groups.recall(*response)
        for time, seq, key, rank in state.due:
            self.calendar.push(time, RESPONSE, seq, (key, rank))
