"""Actions and retractions that came before what they concern: few, since the lateness bounds their stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from stream_reco import metrics
from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.calendar_queue import Calendar
from stream_reco.labels.memory.groups import GroupKey
from stream_reco.labels.memory.keys import digest_of
from stream_reco.labels.memory.open_impressions import WaitingActions
from stream_reco.labels.memory.protocol import ORPHAN, RESPONSE, WAITED, Due, StreamProgress


class UnsettledActions:
    """Waiting actions, retractions without an action, responses whose time is not past; in the main memory.

    `noted` and `dropped` are called with (time, kind, seq) of what comes and goes, for a subclass that keeps a copy.
    """

    def __init__(self, progress: StreamProgress, width: int) -> None:
        self._progress = progress
        self.calendar: Calendar[Any] = Calendar(width)
        self.waiting = WaitingActions()
        self.actions: dict[Id, PendingAction] = {}
        """Waiting actions by their event_id."""
        self.retractions: dict[bytes, tuple[int, int, Id | None]] = {}
        """Time, seq and user by the digest of the action's id: whose action it is may not be known."""

    def noted(self, time: int, kind: int, seq: int, what: object) -> None:
        """Something is held, or has changed; `what`: a PendingAction, (an id's digest, user), or a group and a rank."""

    def dropped(self, time: int, kind: int, seq: int) -> None:
        """Something is held no more."""

    def response(self, time: int, seq: int, key: GroupKey, rank: int) -> None:
        self.calendar.push(time, RESPONSE, seq, (key, rank))
        self.noted(time, RESPONSE, seq, (key, rank))

    def known(self, event_ids: Collection[Id]) -> set[Id]:
        """Those of the ids that belong to waiting actions."""
        return {one for one in event_ids if one in self.actions} if self.actions else set()

    def wait(self, action: PendingAction) -> None:
        self.waiting.add(action)
        if action.event_id is not None:
            self.actions[action.event_id] = action
        self.calendar.push(action.time, WAITED, action.seq, action)
        self.noted(action.time, WAITED, action.seq, action)

    def waited_for(self, shown: PendingImpression, until: int) -> list[PendingAction]:
        """Take out the actions that waited for an impression and are not after `until` ms."""
        taken = self.waiting.take(shown, until)
        for action in taken:
            self._leave(action)
        return taken

    def retract(self, action: PendingAction, time: int) -> None:
        """An action that waits is taken back."""
        action.retracted = time
        self.noted(action.time, WAITED, action.seq, action)

    def hold_retraction(self, event_id: Id, time: int, user_id: Id | None, seq: int) -> None:
        self.hold_retraction_of(digest_of(event_id), time, user_id, seq)

    def hold_retraction_of(self, action: bytes, time: int, user_id: Id | None, seq: int) -> None:
        """`hold_retraction` of the action whose id has this digest."""
        if action not in self.retractions:
            self.retractions[action] = (time, seq, user_id)
            self.calendar.push(time, ORPHAN, seq, action)
            self.noted(time, ORPHAN, seq, (action, user_id))

    def held_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        if event_id is None or not self.retractions:
            return None
        held = self.retractions.get(digest_of(event_id))
        return None if held is None else (held[0], held[2])

    def take_retraction(self, event_id: Id | None) -> tuple[int, Id | None] | None:
        if event_id is None or not self.retractions:
            return None
        return self._take_retraction_of(digest_of(event_id))

    def _take_retraction_of(self, action: bytes) -> tuple[int, Id | None] | None:
        held = self.retractions.pop(action, None)
        if held is None:
            return None
        self.dropped(held[0], ORPHAN, held[1])
        return held[0], held[2]

    def due(self, entry: Due) -> Iterator[Due]:
        """What of an entry that the calendar gave is still of use."""
        time, kind, seq, what = entry
        if kind == RESPONSE:
            self.dropped(time, kind, seq)
            yield entry
        elif kind == WAITED:
            if not what.dropped:
                self.waiting.remove(what)
                self._leave(what)
                metrics.ORPHANS.labels("action").inc()
                yield entry
        elif kind == ORPHAN and self.retractions.get(what, (0, -1))[1] == seq:
            self._take_retraction_of(what)
            self._progress.orphans += 1
            metrics.ORPHANS.labels("retraction").inc()

    def forget_user(self, user_id: Id) -> list[PendingAction]:
        """Drop all that is held about a user; return the actions that were."""
        actions = self.waiting.of_user(user_id)
        for action in actions:
            self.waiting.remove(action)
            self._leave(action)
        for of_user in [i for i, (_, _, user) in self.retractions.items() if user == user_id]:
            self._take_retraction_of(of_user)
        return actions

    def forget_responses(self, groups: Collection[GroupKey]) -> None:
        """Drop the responses to members of groups that have none any more."""
        if groups:
            for time, kind, seq, _ in self.calendar.take(lambda entry: entry[1] == RESPONSE and entry[3][0] in groups):
                self.dropped(time, kind, seq)

    def _leave(self, action: PendingAction) -> None:
        action.dropped = True
        if action.event_id is not None:
            del self.actions[action.event_id]
        self.dropped(action.time, WAITED, action.seq)
