"""Retractions that came before their actions, held until their own time is past: the action may still come."""

from __future__ import annotations

from stream_reco.events import Action, Id, Retraction
from stream_reco.labels.memory.keys import digest_of

State = list[tuple[bytes, int, Id | None]]


class HeldRetractions:
    """Time (ms) and user by a digest of the action's id; few, since the lateness bounds their stay."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[int, Id | None]] = {}

    def hold(self, event: Retraction) -> None:
        """Hold a retraction whose action is not known; the first of an id counts."""
        self._held.setdefault(digest_of(event.retracts), (event.timestamp, event.user_id))

    def take(self, event: Action) -> bool:
        """Whether the retraction of this action came before it; asked once."""
        if event.event_id is None or not self._held:
            return False
        held = self._held.pop(digest_of(event.event_id), None)
        return held is not None and held[1] in (None, event.user_id)

    def expire(self, watermark: int) -> None:
        """Let go of those of an earlier time."""
        for one in [one for one, (time, _) in self._held.items() if time < watermark]:
            del self._held[one]

    def forget_user(self, user_id: Id) -> None:
        """Let go of those of a user."""
        for one in [one for one, (_, user) in self._held.items() if user == user_id]:
            del self._held[one]

    def state(self) -> State:
        """Everything, for a checkpoint."""
        return [(one, time, user) for one, (time, user) in self._held.items()]

    def recall(self, state: State) -> None:
        """The inverse of `state`."""
        self._held = {one: (time, user) for one, time, user in state}
