"""Items that users took a negative action on: they are kept out of those users' slates."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS, SignalSettings

COMPARED = 50
"""Newest disliked items that others are compared with: with more, everything is like one of them."""
NOTHING_DISLIKED = np.empty(0, dtype=np.int32)
Disliked = list[tuple[int, int]]
"""(time in ms, item slot) of each negative action, oldest first."""


class Dislikes:
    """The newest negative actions of each user who took any, at most `disliked_length` of each."""

    def __init__(self, settings: SignalSettings) -> None:
        self._settings = settings
        self._of: dict[Id, Disliked] = {}

    def __len__(self) -> int:
        """Users."""
        return len(self._of)

    def users(self) -> list[Id]:
        """Users of whom there are any, in the order in which they came."""
        return list(self._of)

    def add(self, user_id: Id, slot: int, now: int) -> None:
        """Remember a negative action on an item slot at `now` (ms)."""
        actions = self._of.setdefault(user_id, [])
        actions.append((now, slot))
        # Nearly always it is the newest already; of equal times the slot decides, so that no order of arrival shows.
        actions.sort()
        limit = self._settings.disliked_length
        self._set(user_id, actions[-limit:] if limit else [])

    def take_back(self, user_id: Id, slot: int, time: int) -> bool:
        """Forget one negative action on an item slot at exactly `time` (ms); False where there is none."""
        actions = self._of.get(user_id, [])
        if (time, slot) not in actions:
            return False
        actions.remove((time, slot))
        self._set(user_id, actions)
        return True

    def of(self, user_id: Id, before: int | None = None) -> NDArray[np.int32]:
        """int32[n]: distinct item slots, those of the newest actions first; with `before` (ms) of earlier ones only."""
        actions = self._of.get(user_id)
        if actions is None:
            return NOTHING_DISLIKED
        newest = (slot for time, slot in actions[::-1] if before is None or time < before)
        return np.array(list(dict.fromkeys(newest)), np.int32)

    def actions(self, user_id: Id) -> Disliked:
        """All that are remembered of a user, newest first."""
        return self._of.get(user_id, [])[::-1]

    def forget(self, user_id: Id) -> bool:
        """Remove a user; False where there is nothing to remove."""
        return self._of.pop(user_id, None) is not None

    def evict(self, now: int, active: ActiveTime, is_known: Callable[[Id], bool]) -> list[Id]:
        """Forget users without a negative action for as long as makes a user idle, but for those who are still known.

        Returns those it forgot. `active` as in `Histories.evict`.
        """
        idle_since = active.earliest(now, int(self._settings.user_idle_days * DAY_MS))
        idle = [one for one, actions in self._of.items() if actions[-1][0] < idle_since and not is_known(one)]
        for user_id in idle:
            del self._of[user_id]
        return idle

    def forget_items(self, slots: NDArray[np.int32]) -> list[Id]:
        """Forget all actions on item slots int32[n] that became free: another item may get them.

        Returns the users who had any.
        """
        gone = set(slots.tolist())
        if not gone:
            return []
        users = [one for one, actions in self._of.items() if not gone.isdisjoint(slot for _, slot in actions)]
        for user_id in users:
            self._set(user_id, [one for one in self._of[user_id] if one[1] not in gone])
        return users

    def turn_back(self, time: int) -> None:
        """Take actions later than `time` (ms) as of that time: the clock was wrong."""
        for actions in self._of.values():
            actions[:] = sorted((min(at, time), slot) for at, slot in actions)

    def _set(self, user_id: Id, actions: Disliked) -> None:
        if actions:
            self._of[user_id] = actions
        else:
            del self._of[user_id]

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        flat = [one for actions in self._of.values() for one in actions]
        return {
            "users": np.frombuffer(msgspec.msgpack.encode(list(self._of)), dtype=np.uint8),
            "lengths": np.array([len(actions) for actions in self._of.values()], dtype=np.int64),
            "times": np.array([time for time, _ in flat], dtype=np.int64),
            "slots": np.array([slot for _, slot in flat], dtype=np.int32),
        }

    @classmethod
    def from_state(cls, settings: SignalSettings, parts: Parts) -> Dislikes:
        """The dislikes that `state` was taken from."""
        restored, at = cls(settings), 0
        users = msgspec.msgpack.decode(parts["users"].tobytes(), type=list[Id])
        flat = list(zip(parts["times"].tolist(), parts["slots"].tolist(), strict=True))
        for user_id, length in zip(users, parts["lengths"].tolist(), strict=True):
            restored._of[user_id] = flat[at : at + length]
            at += length
        return restored
