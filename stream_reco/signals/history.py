"""What each user did lately: the newest actions in dense rows, older ones beside them."""

from __future__ import annotations

from array import array

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.growing import Parts, capacity_for, grown
from stream_reco.signals.settings import DAY_MS, RECENT, SignalSettings

NO_ITEM = -1


@njit(cache=True, nogil=True)
def _push(items: NDArray[np.int32], times: NDArray[np.int64], user: int, slot: int, now: int) -> None:
    """Insert an action into a user's row, newest first; a late one goes where its time belongs."""
    place = 0
    while place < RECENT and items[user, place] != NO_ITEM and times[user, place] > now:
        place += 1
    if place == RECENT:
        return
    for older in range(RECENT - 1, place, -1):
        items[user, older] = items[user, older - 1]
        times[user, older] = times[user, older - 1]
    items[user, place] = slot
    times[user, place] = now


class Histories:
    """Recent actions of every live user, newest first.

    `items` int32[users, RECENT] of item slots (−1 where there is none), `times` int64[users, RECENT] in ms. What
    falls off the end of a row is kept beside it up to the settings' length, for "seen" and for the daily clustering.
    """

    def __init__(self, settings: SignalSettings) -> None:
        self._settings = settings
        self.items = np.full((1024, RECENT), NO_ITEM, dtype=np.int32)
        self.times = np.zeros((1024, RECENT), dtype=np.int64)
        self.counts = np.zeros(1024, dtype=np.int32)
        """int32[users]: actions ever."""
        self.last = np.zeros(1024, dtype=np.int64)
        """int64[users], ms: newest action."""
        self._rows: dict[Id, int] = {}
        self._ids: list[Id | None] = []
        self._free: list[int] = []
        self._older: dict[int, tuple[array[int], array[int]]] = {}

    def __len__(self) -> int:
        """Live users."""
        return len(self._rows)

    def row_of(self, user_id: Id) -> int:
        """The user's row, −1 for a stranger."""
        return self._rows.get(user_id, -1)

    def add(self, user_id: Id, slot: int, now: int) -> int:
        """Remember an action on an item; returns the user's row."""
        row = self._rows.get(user_id, -1)
        if row < 0:
            row = self._new_row(user_id)
        if self.items[row, RECENT - 1] != NO_ITEM:
            self._keep_older(row, int(self.items[row, RECENT - 1]), int(self.times[row, RECENT - 1]))
        _push(self.items, self.times, row, slot, now)
        self.counts[row] += 1
        self.last[row] = max(self.last[row], now)
        return row

    def seen(self, row: int) -> NDArray[np.int32]:
        """int32[n]: slots of all remembered actions, newest first; of a negative row: none."""
        if row < 0:
            return np.empty(0, dtype=np.int32)
        recent = self.items[row, : min(int(self.counts[row]), RECENT)]
        older = self._older.get(row)
        if older is None:
            return recent.copy()
        return np.concatenate([recent, np.array(older[0], dtype=np.int32)[::-1]])

    def whole(self, row: int, now: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[n] and times int64[n] of the remembered actions that are young enough, newest first."""
        count = min(int(self.counts[row]), RECENT)
        older = self._older.get(row, (array("i"), array("q")))
        slots = np.concatenate([self.items[row, :count], np.array(older[0], dtype=np.int32)[::-1]])
        times = np.concatenate([self.times[row, :count], np.array(older[1], dtype=np.int64)[::-1]])
        young = times >= now - self._settings.history_days * DAY_MS
        return slots[young], times[young]

    def users(self) -> list[Id]:
        """All live users, in the order of their rows."""
        return [user_id for user_id in self._ids if user_id is not None]

    def forget(self, user_id: Id) -> bool:
        """Remove a user; False for a stranger."""
        row = self._rows.pop(user_id, -1)
        if row < 0:
            return False
        self._older.pop(row, None)
        self.items[row] = NO_ITEM
        self.times[row] = 0
        self.counts[row] = 0
        self.last[row] = 0
        self._ids[row] = None
        self._free.append(row)
        return True

    def evict(self, now: int) -> list[Id]:
        """Forget the users who have been idle for too long; returns them."""
        horizon = now - int(self._settings.user_idle_days * DAY_MS)
        idle = np.flatnonzero(self.last[: len(self._ids)] < horizon)
        gone = [user_id for user_id in (self._ids[row] for row in idle) if user_id is not None]
        for user_id in gone:
            self.forget(user_id)
        return gone

    def _keep_older(self, row: int, slot: int, time: int) -> None:
        slots, times = self._older.setdefault(row, (array("i"), array("q")))
        slots.append(slot)
        times.append(time)
        if len(slots) > self._settings.history_length - RECENT:
            del slots[0], times[0]

    def _new_row(self, user_id: Id) -> int:
        if self._free:
            row = self._free.pop()
            self._ids[row] = user_id
        else:
            row = len(self._ids)
            self._ids.append(user_id)
            if row >= len(self.items):
                self._grow(capacity_for(row + 1, len(self.items)))
        self._rows[user_id] = row
        return row

    def _grow(self, capacity: int) -> None:
        self.items = grown(self.items, capacity, NO_ITEM)
        self.times = grown(self.times, capacity, 0)
        self.counts = grown(self.counts, capacity, 0)
        self.last = grown(self.last, capacity, 0)

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        rows = len(self._ids)
        older = [(row, slots.tolist(), times.tolist()) for row, (slots, times) in self._older.items()]
        document = msgspec.msgpack.encode((self._ids, self._free, older))
        return {
            "items": self.items[:rows], "times": self.times[:rows], "counts": self.counts[:rows],
            "last": self.last[:rows], "document": np.frombuffer(document, dtype=np.uint8),
        }

    @classmethod
    def from_state(cls, settings: SignalSettings, parts: Parts) -> Histories:
        """The histories that `state` was taken from."""
        histories = cls(settings)
        histories._ids, histories._free, older = msgspec.msgpack.decode(
            parts["document"].tobytes(),
            type=tuple[list[Id | None], list[int], list[tuple[int, list[int], list[int]]]],
        )
        rows = len(histories._ids)
        histories._grow(capacity_for(rows, 1024))
        for name in ("items", "times", "counts", "last"):
            getattr(histories, name)[:rows] = parts[name]
        histories._rows = {user_id: row for row, user_id in enumerate(histories._ids) if user_id is not None}
        histories._older = {row: (array("i", slots), array("q", times)) for row, slots, times in older}
        return histories
