"""What each user was shown and has not acted on since: which items, how often, and when last."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import DAY_MS, SignalSettings
from stream_reco.signals.shown_items import ShownItems


class Exposure(NamedTuple):
    """What one user was shown since the last positive action on each item, that shown longest ago first."""

    slots: NDArray[np.int32]
    """int32[n], each item once."""
    counts: NDArray[np.int32]
    """int32[n]: how often, at least 1."""
    times: NDArray[np.int64]
    """int64[n], ms: when last."""


NOTHING_SHOWN = Exposure(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))


class Exposures:
    """The items that live users were shown and passed over, at most `MOST_ITEMS` of each user.

    A retracted action does not bring back what it has ended: counting begins anew.
    """

    def __init__(self, settings: SignalSettings) -> None:
        self._settings = settings
        self._shown: dict[Id, ShownItems] = {}

    def __len__(self) -> int:
        """Users who were shown anything that they have not acted on."""
        return len(self._shown)

    def add(self, user_id: Id, slot: int, now: int) -> None:
        """Count an impression of an item slot at `now`, ms; a late one counts, and changes no time."""
        shown = self._shown.get(user_id)
        if shown is None:
            shown = self._shown[user_id] = ShownItems("i")
        shown.add(slot, now)

    def acted(self, user_id: Id, slot: int) -> None:
        """The user has acted on an item slot: what was shown before does not count any more."""
        if user_id in self._shown:
            self._without(user_id, {slot})

    def of(self, user_id: Id) -> Exposure:
        """What counts of a user, as copies."""
        shown = self._shown.get(user_id)
        if shown is None:
            return NOTHING_SHOWN
        return Exposure(
            np.array(shown.items, dtype=np.int32),
            np.array(shown.counts, dtype=np.int32),
            np.array(shown.times, dtype=np.int64),
        )

    def before(self, user_id: Id, slot: int, now: int) -> Exposure:
        """The same without one impression of an item slot at `now` (ms), where that was counted already.

        When it was shown before that is not known any more: the nearest that is, `now`, stands there.
        """
        shown = self.of(user_id)
        counted = (shown.slots == slot) & (shown.times >= now)
        if not counted.any():
            return shown
        counts, times = shown.counts - counted, np.where(counted, now, shown.times)
        left = counts > 0
        return Exposure(shown.slots[left], counts[left], times[left])

    def users(self) -> list[Id]:
        """All users of whom anything is remembered."""
        return list(self._shown)

    def forget(self, user_id: Id) -> bool:
        """Remove a user; False where nothing was remembered of them."""
        return self._shown.pop(user_id, None) is not None

    def evict(self, now: int, active: ActiveTime | None = None) -> list[Id]:
        """Forget users who were shown nothing for as long as makes a user idle; `active` as in `Histories.evict`.

        Returns those it forgot.
        """
        idle_since = (active or ActiveTime()).earliest(now, int(self._settings.user_idle_days * DAY_MS))
        idle = [user_id for user_id, shown in self._shown.items() if shown.newest < idle_since]
        for user_id in idle:
            del self._shown[user_id]
        return idle

    def forget_items(self, slots: NDArray[np.int32]) -> list[Id]:
        """Forget item slots int32[n] that became free: another item may get them. Returns the users who had any."""
        gone, users = set(slots.tolist()), self._users_shown(slots)
        for user_id in users:
            self._without(user_id, gone.intersection(self._shown[user_id].items))
        return users

    def shown_to(self, user_id: Id) -> ShownItems | None:
        """What counts of a user, by item slot and not to be changed; None where nothing does."""
        return self._shown.get(user_id)

    def turn_back(self, time: int) -> None:
        """Take impressions later than `time` (ms) as of that time: the clock was wrong."""
        for shown in self._shown.values():
            shown.turn_back(time)

    def _users_shown(self, slots: NDArray[np.int32]) -> list[Id]:
        """The users who were shown any of these."""
        users, shown = list(self._shown), self._shown.values()
        owners = np.repeat(np.arange(len(users)), [len(one) for one in shown])
        every = np.frombuffer(b"".join(one.items.tobytes() for one in shown), dtype=np.int32)
        return [users[owner] for owner in np.unique(owners[np.isin(every, slots)]).tolist()]

    def _without(self, user_id: Id, slots: set[int]) -> None:
        shown = self._shown[user_id]
        shown.remove_all(slots)
        if not len(shown):
            del self._shown[user_id]

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        columns = [shown.to_bytes() for shown in self._shown.values()]
        items, counts, times = (b"".join(column) for column in zip(*columns, strict=True)) if columns else (b"",) * 3
        return {
            "users": np.frombuffer(msgspec.msgpack.encode(list(self._shown)), dtype=np.uint8),
            "lengths": np.array([len(shown) for shown in self._shown.values()], dtype=np.int64),
            "slots": np.frombuffer(items, dtype="<i8"),
            "counts": np.frombuffer(counts, dtype="<u2"),
            "times": np.frombuffer(times, dtype="<i8"),
        }

    @classmethod
    def from_state(cls, settings: SignalSettings, parts: Parts) -> Exposures:
        """Those that `state` was taken from."""
        exposures = cls(settings)
        users = msgspec.msgpack.decode(parts["users"].tobytes(), type=list[Id])
        ends = np.cumsum(parts["lengths"]).tolist()
        for user_id, begin, end in zip(users, [0, *ends[:-1]], ends, strict=False):
            slots, counts, times = (parts[name][begin:end].tobytes() for name in ("slots", "counts", "times"))
            exposures._shown[user_id] = ShownItems.from_bytes(slots, counts, times, "i")
        return exposures
