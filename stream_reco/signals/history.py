"""What each user did lately: the newest actions in dense rows, older ones apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.growing import Parts, capacity_for, grown
from stream_reco.signals.older import Older
from stream_reco.signals.settings import DAY_MS, RECENT, SignalSettings
from stream_reco.signals.voices import is_heard, once, voice_of

NO_ITEM = -1
_ROW_ARRAYS = ("items", "times", "voices", "counts", "last")
_NO_SLOTS = np.empty(0, dtype=np.int32)
_NO_TIMES = np.empty(0, dtype=np.int64)


@njit(cache=True, nogil=True)
def _push(
    items: NDArray[np.int32],
    times: NDArray[np.int64],
    voices: NDArray[np.int64],
    user: int,
    slot: int,
    now: int,
    voice: int,
) -> None:
    """Insert an action into a user's row, newest first; a late one goes where its time belongs."""
    place = 0
    while place < RECENT and items[user, place] != NO_ITEM and times[user, place] > now:
        place += 1
    if place == RECENT:
        return
    for older in range(RECENT - 1, place, -1):
        items[user, older] = items[user, older - 1]
        times[user, older] = times[user, older - 1]
        voices[user, older] = voices[user, older - 1]
    items[user, place] = slot
    times[user, place] = now
    voices[user, place] = voice


class RememberedActions(NamedTuple):
    """Actions of one user, newest first."""

    slots: NDArray[np.int32]
    """int32[n]: item slots."""
    times: NDArray[np.int64]
    """int64[n], ms."""
    voices: NDArray[np.int64]
    """int64[n], see `signals.voices`."""

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64] | slice) -> RememberedActions:
        """Those that a mask, indices or a slice choose."""
        return RememberedActions(self.slots[keep], self.times[keep], self.voices[keep])


_NOTHING = RememberedActions(_NO_SLOTS, _NO_TIMES, _NO_TIMES)


class Histories:
    """Recent actions of every live user, newest first; of equal times the one that came last counts as the newest.

    `items` int32[users, RECENT] of item slots (−1 where there is none), `times` int64[users, RECENT] in ms. What
    falls off the end of a row is kept apart, up to the settings' length, for "seen" and for the daily clustering.
    `voices` int64[users, RECENT] say how each was counted (`signals.voices`).
    """

    def __init__(self, settings: SignalSettings) -> None:
        self._settings, self._once_ms = settings, settings.once_ms
        self.items = np.full((1024, RECENT), NO_ITEM, dtype=np.int32)
        self.times = np.zeros((1024, RECENT), dtype=np.int64)
        self.voices = np.zeros((1024, RECENT), dtype=np.int64)
        self.counts = np.zeros(1024, dtype=np.int32)
        """int32[users]: actions ever."""
        self.last = np.zeros(1024, dtype=np.int64)
        """int64[users], ms: newest action."""
        self._rows: dict[Id, int] = {}
        self._ids: list[Id | None] = []
        self._free: list[int] = []
        # Holds nothing of a row that is not full.
        self._older = Older(settings.history_length - RECENT)

    def __len__(self) -> int:
        """Live users."""
        return len(self._rows)

    def row_of(self, user_id: Id) -> int:
        """The user's row, −1 for an unknown user."""
        return self._rows.get(user_id, -1)

    def is_heard(self, row: int, slot: int, kind: int, now: int) -> bool:
        """Whether an action of this kind at `now` (ms) adds nothing to the counts: the user was heard within the span.

        Of a negative row: not.
        """
        span = self._once_ms
        if row < 0 or not span:
            return False
        action, items, times = (slot, kind, now), self.items[row], self.times[row]
        if is_heard(items, times, self.voices[row], action, span):
            return True
        if items[RECENT - 1] == NO_ITEM or times[RECENT - 1] <= now - span:
            return False
        return bool(is_heard(*self._older.of(row), action, span))

    def add(self, user_id: Id, slot: int, now: int, kind: int = 0, *, silent: bool = False) -> int:
        """Remember an action on an item slot at `now` (ms); returns the user's row.

        `kind`: as `number_of_kind` gives it; `silent`: it was not counted.
        """
        row = self._rows.get(user_id, -1)
        if row < 0:
            row = self._new_row(user_id)
        self.counts[row] += 1
        self.last[row] = max(self.last[row], now)
        voice = voice_of(int(self.counts[row]), kind, silent=silent)
        oldest = int(self.items[row, RECENT - 1])
        if oldest != NO_ITEM:
            time = int(self.times[row, RECENT - 1])
            if now < time:
                self._older.keep(row, slot, now, voice)
                return row
            self._older.keep(row, oldest, time, int(self.voices[row, RECENT - 1]))
        _push(self.items, self.times, self.voices, row, slot, now, voice)
        return row

    def seen(self, row: int) -> NDArray[np.int32]:
        """int32[n]: slots of all remembered actions, newest first, as a copy; of a negative row: none."""
        if row < 0:
            return _NO_SLOTS
        recent = self.items[row]
        return np.concatenate([recent[recent != NO_ITEM], self._older.of(row)[0]])

    def whole(
        self, row: int, now: int, active: ActiveTime | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[n] and times int64[n] of the remembered actions that are young enough, newest first.

        `active` as for `evict`.
        """
        slots, times, _ = self.all(row)
        young = times >= self._horizon(now, active or ActiveTime())
        return slots[young], times[young]

    def before(self, row: int, now: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[n] and times int64[n] of the remembered actions earlier than `now` (ms), newest first.

        Of a negative row: none.
        """
        slots, times, _ = self.all(row)
        earlier = times < now
        return slots[earlier], times[earlier]

    def has(self, row: int, slot: int, now: int) -> bool:
        """Whether an action on an item slot at exactly `now` (ms) is remembered; of a negative row: not."""
        slots, times, _ = self.all(row)
        return bool(((slots == slot) & (times == now)).any())

    def acted_since(self, row: int, slot: int, time: int) -> bool:
        """Whether an action on an item slot at `time` (ms) or later is remembered; of a negative row: not."""
        if row < 0 or self.last[row] < time:
            return False
        known = self.all(row)
        return bool(((known.slots == slot) & (known.times >= time)).any())

    def remembered(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[n] and times int64[n] of all remembered actions, newest first; of a negative row none.

        They may be views, which change with the next action.
        """
        if row < 0:
            return _NO_SLOTS, _NO_TIMES
        slots, times = self.items[row], self.times[row]
        if slots[RECENT - 1] == NO_ITEM:  # then there is nothing older
            count = int((slots != NO_ITEM).sum())
            return slots[:count], times[:count]
        older, older_times, _ = self._older.of(row)
        return np.concatenate([slots, older]), np.concatenate([times, older_times])

    def all(self, row: int) -> RememberedActions:
        """All remembered actions, as copies; of a negative row none."""
        if row < 0:
            return _NOTHING
        newest, older = self.newest(row), RememberedActions(*self._older.of(row))
        return RememberedActions(
            np.concatenate([newest.slots, older.slots]),
            np.concatenate([newest.times, older.times]),
            np.concatenate([newest.voices, older.voices]),
        )

    def newest(self, row: int) -> RememberedActions:
        """Up to RECENT of them, as copies; of a negative row none."""
        if row < 0:
            return _NOTHING
        newest = RememberedActions(self.items[row], self.times[row], self.voices[row])
        return newest.where(newest.slots != NO_ITEM)

    def said(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Slots int32[RECENT] and times int64[RECENT] of the newest, −1 behind the last, as copies.

        What was said within the settings' span already is left out: an action that comes now is paired with these.
        """
        if row < 0:
            return np.full(RECENT, NO_ITEM, dtype=np.int32), np.zeros(RECENT, dtype=np.int64)
        slots, times, voices = self.items[row].copy(), self.times[row].copy(), self.voices[row]
        return once(slots, times, voices, self._once_ms) if self._once_ms else (slots, times)

    def replace(self, user_id: Id, actions: RememberedActions) -> None:
        """Have these actions in place of those that are remembered of a known user; without any the user leaves."""
        if not len(actions.slots):
            self.forget(user_id)
            return
        row = self._rows[user_id]
        self._put(row, actions)
        self.last[row] = actions.times[0]

    def _put(self, row: int, actions: RememberedActions) -> None:
        newest, older = actions.where(slice(RECENT)), actions.where(slice(RECENT, None))
        count = len(newest.slots)
        self.items[row, :count], self.items[row, count:] = newest.slots, NO_ITEM
        self.times[row, :count], self.times[row, count:] = newest.times, 0
        self.voices[row, :count], self.voices[row, count:] = newest.voices, 0
        slots, times, voices = (column[::-1].tolist() for column in older)
        self._older.replace(row, slots, times, voices)

    def users(self) -> list[Id]:
        """All live users, in the order of their rows."""
        return [user_id for user_id in self._ids if user_id is not None]

    def forget(self, user_id: Id) -> bool:
        """Remove a user; False where the user is unknown."""
        row = self._rows.pop(user_id, -1)
        if row < 0:
            return False
        self._older.forget(row)
        self.items[row] = NO_ITEM
        self.times[row] = 0
        self.voices[row] = 0
        self.counts[row] = 0
        self.last[row] = 0
        self._ids[row] = None
        self._free.append(row)
        return True

    def evict(self, now: int, active: ActiveTime | None = None) -> list[Id]:
        """Forget actions that are too old, and the users who have been idle for too long.

        Returns the users of whom anything was forgotten.
        `active` says how long that is at `now` (ms); all of stream time counts without it.
        """
        rows, active = len(self._ids), active or ActiveTime()
        idle_since = active.earliest(now, int(self._settings.user_idle_days * DAY_MS))
        idle = np.flatnonzero(self.last[:rows] < idle_since)
        gone = [user_id for user_id in (self._ids[row] for row in idle) if user_id is not None]
        for user_id in gone:
            self.forget(user_id)
        horizon = self._horizon(now, active)
        stale = (self.times[:rows] < horizon) & (self.items[:rows] != NO_ITEM)
        self.items[:rows][stale] = NO_ITEM
        self.times[:rows][stale] = 0
        self.voices[:rows][stale] = 0
        fewer = {*np.flatnonzero(stale.any(axis=1)).tolist(), *self._older.forget_before(horizon)}
        return [*gone, *self._ids_of(fewer)]

    def turn_back(self, time: int) -> int:
        """Take actions later than `time` (ms) as of that time: the clock was wrong. Returns how many users had any."""
        later = int((self.last > time).sum())
        np.minimum(self.last, time, out=self.last)
        np.minimum(self.times, time, out=self.times)
        self._older.turn_back(time)
        return later

    def forget_items(self, slots: NDArray[np.int32]) -> list[Id]:
        """Forget all actions on item slots int32[n] that became free: another item may get them.

        Returns the users who had any.
        """
        rows = self.items[: len(self._ids)]
        if not len(slots) or not len(rows):
            return []
        gone = np.zeros(max(int(slots.max()), int(rows.max()), self._older.highest()) + 1, dtype=np.bool_)
        gone[slots] = True
        recent = np.flatnonzero((gone[np.maximum(rows, 0)] & (rows != NO_ITEM)).any(axis=1)).tolist()
        fewer = sorted({*recent, *self._older.rows_with(gone)})
        for row in fewer:
            actions = self.all(row)
            self._put(row, actions.where(~gone[actions.slots]))
        return self._ids_of(fewer)

    def _ids_of(self, rows: Iterable[int]) -> list[Id]:
        return [user_id for user_id in (self._ids[row] for row in rows) if user_id is not None]

    def _horizon(self, now: int, active: ActiveTime) -> int:
        return active.earliest(now, int(self._settings.history_days * DAY_MS))

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
        self.voices = grown(self.voices, capacity, 0)
        self.counts = grown(self.counts, capacity, 0)
        self.last = grown(self.last, capacity, 0)

    def state(self) -> Parts:
        """Everything, for a checkpoint; copies."""
        rows = len(self._ids)
        document = msgspec.msgpack.encode((self._ids, self._free))
        return {
            **{name: getattr(self, name)[:rows].copy() for name in _ROW_ARRAYS},
            "document": np.frombuffer(document, dtype=np.uint8),
            **self._older.state(),
        }

    @classmethod
    def from_state(cls, settings: SignalSettings, parts: Parts) -> Histories:
        """The histories that `state` was taken from; they go on bit for bit as those would have."""
        histories = cls(settings)
        histories._ids, histories._free = msgspec.msgpack.decode(
            parts["document"].tobytes(), type=tuple[list[Id | None], list[int]]
        )
        rows = len(histories._ids)
        histories._grow(capacity_for(rows, 1024))
        # Up to version 0.2.0 there were no voices.
        parts = {"voices": np.zeros((rows, RECENT), dtype=np.int64), **parts}
        for name in _ROW_ARRAYS:
            getattr(histories, name)[:rows] = parts[name]
        histories._rows = {user_id: row for row, user_id in enumerate(histories._ids) if user_id is not None}
        histories._older.restore(parts)
        return histories
