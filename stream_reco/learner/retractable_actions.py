"""The newest actions by their event_id, so that a retraction finds what it takes back where no labels are joined."""

from __future__ import annotations

import msgspec

from stream_reco.events import Action, Id, Retraction
from stream_reco.labels.held_retractions import HeldRetractions, State

MOST = 100_000
"""Actions at most, some 600 bytes each: most of what is undone is undone at once."""


class _RetractableOnWire(msgspec.Struct, frozen=True, array_like=True):
    actions: list[Action]
    held: State


class RetractableActions:
    """Actions for as long as they can be taken back, `window_ms`, and retractions that came before theirs."""

    def __init__(self, window_ms: int, lateness_ms: int, most: int = MOST) -> None:
        self._window_ms, self._lateness_ms, self._most = window_ms, lateness_ms, most
        self._kept: dict[Id, Action] = {}
        self._held = HeldRetractions()

    def __len__(self) -> int:
        """Actions kept."""
        return len(self._kept)

    def add(self, event: Action) -> bool:
        """Keep an action; False where its retraction came before it."""
        if event.event_id is None:
            return True
        if self._held.take(event):
            return False
        self._kept[event.event_id] = event
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return True

    def take(self, event: Retraction) -> Action | None:
        """The action that a retraction takes back, once; where it is not known the retraction is held."""
        action = self._kept.get(event.retracts)
        if action is None:
            self._held.hold(event)
            return None
        if event.user_id not in (None, action.user_id):
            return None
        del self._kept[event.retracts]
        return action if event.timestamp <= action.timestamp + self._window_ms else None

    def expire(self, now: int) -> None:
        """Let go, at `now` (ms) of stream time, of what can no longer be taken back or will not come any more."""
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest].timestamp + self._window_ms >= now:
                break
            del self._kept[oldest]
        self._held.expire(now - self._lateness_ms)

    def forget_user(self, user_id: Id) -> None:
        """Let go of all of a user."""
        for event_id in [event_id for event_id, action in self._kept.items() if action.user_id == user_id]:
            del self._kept[event_id]
        self._held.forget_user(user_id)

    def state(self) -> bytes:
        """Everything, for a checkpoint."""
        return msgspec.msgpack.encode(_RetractableOnWire(list(self._kept.values()), self._held.state()))

    def recall(self, state: bytes) -> None:
        """The inverse of `state`."""
        wire = msgspec.msgpack.decode(state, type=_RetractableOnWire)
        self._kept = {action.event_id: action for action in wire.actions if action.event_id is not None}
        self._held.recall(wire.held)
