"""Take an action that was counted and remembered out of both again, as if it had not been.

What an action added depends on what its user did before, and so do the actions after it: they were paired with it, or
were silent because of it. All that follows from the user's history, where each action stands with its number, its kind
and whether it was counted (`signals.voices`), and is counted anew from there. What has made room in a bounded list
stays away, and the context of another action is not known here: where one takes this one's place, it takes its context.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.context import Context
from stream_reco.signals.history import Histories, RememberedActions
from stream_reco.signals.settings import RECENT
from stream_reco.signals.signals import RecentArrays, Signals
from stream_reco.signals.voices import arrivals, kinds, once, silent


class Withdrawn(NamedTuple):
    """An action that is taken back."""

    slot: int
    kind: int
    """As `number_of_kind` gives it."""
    time: int
    """ms."""


def recent_before(actions: RememberedActions, span: int) -> RecentArrays:
    """The newest of a user's actions, newest first, as one that comes now is paired with them.

    int32[RECENT] and int64[RECENT] with slot −1 at the end; what was said within `span` ms already is left out.
    """
    count = min(len(actions.slots), RECENT)
    slots, times = np.full(RECENT, -1, dtype=np.int32), np.zeros(RECENT, dtype=np.int64)
    slots[:count], times[:count] = actions.slots[:count], actions.times[:count]
    if not span or not count:
        return slots, times
    voices = np.zeros(RECENT, dtype=np.int64)
    voices[:count] = actions.voices[:count]
    said: RecentArrays = once(slots, times, voices, span)
    return said


def withdraw(
    signals: Signals, histories: Histories, user_id: Id, action: Withdrawn, context: Context, span: int
) -> bool:
    """Take an action out of the counts and of its user's history; False where the history does not have it.

    `context` is the action's own, `span` (ms) that in which a user counts once.
    """
    past = histories.all(histories.row_of(user_id))
    place = _place_of(past, action)
    if place < 0:
        return False
    before = _order(past)
    left = np.arange(len(past.slots)) != place
    voices = past.voices.copy()
    if not silent(past.voices)[place]:
        _speak_again(past, voices, place, before, action.kind, span)
    _Recount(signals, past, before, context, span).run(place, left, silent(voices))
    histories.replace(user_id, RememberedActions(past.slots[left], past.times[left], voices[left]))
    return True


def _place_of(past: RememberedActions, action: Withdrawn) -> int:
    """Where the action stands, −1 if it does not; of several alike the one whose leaving changes least."""
    of_kind = np.isin(kinds(past.voices), (0, action.kind))
    found = np.flatnonzero((past.slots == action.slot) & (past.times == action.time) & of_kind)
    return int(max(found, key=lambda place: past.voices[place] & 1, default=-1))


def _order(past: RememberedActions) -> NDArray[np.int64]:
    """int64[n]: the rank of each action in the order in which they came."""
    ranks = np.empty(len(past.slots), dtype=np.int64)
    # Those of earlier releases have no number: they came before the others, in the order of their times.
    ranks[np.lexsort((-np.arange(len(ranks)), arrivals(past.voices)))] = np.arange(len(ranks))
    return ranks


def _speak_again(
    past: RememberedActions,
    voices: NDArray[np.int64],
    gone: int,
    order: NDArray[np.int64],
    kind: int,
    span: int,
) -> None:
    """Decide anew which later actions of the kind on the item count, now that the one at `gone` does not."""
    same = np.flatnonzero((past.slots == past.slots[gone]) & (kinds(past.voices) == kind) & (order != order[gone]))
    hushed, spoken = [gone], list[int]()
    for place in same[np.argsort(order[same])].tolist():
        if order[place] < order[gone]:
            continue
        near = np.abs(past.times - past.times[place]) < span
        if voices[place] & 1:
            earlier = same[near[same] & (order[same] < order[place])]
            if near[hushed].any() and (voices[earlier] & 1).all():
                voices[place] ^= 1
                spoken.append(place)
        elif near[spoken].any():
            voices[place] |= 1
            hushed.append(place)


class _Recount:
    """Counts a user's actions anew where the leaving of one has changed what they add."""

    def __init__(
        self, signals: Signals, past: RememberedActions, order: NDArray[np.int64], context: Context, span: int
    ) -> None:
        self._signals, self._past, self._order, self._context, self._span = signals, past, order, context, span

    def run(self, gone: int, left: NDArray[np.bool_], silent_now: NDArray[np.bool_]) -> None:
        """Undo what counts no longer, then count what counts now."""
        past, everyone = self._past, np.ones(len(left), dtype=np.bool_)
        spoke, speaks = ~silent(past.voices), ~silent_now & left
        for place in np.flatnonzero(spoke & ~speaks).tolist():
            slots, times = self._recent(place, everyone)
            self._signals.take_back(int(past.slots[place]), slots, times, self._context, int(past.times[place]))
        later = self._order > self._order[gone]
        for place in np.flatnonzero(spoke & speaks & later).tolist():
            old, new = self._recent(place, everyone), self._recent(place, left)
            if not (np.array_equal(old[0], new[0]) and np.array_equal(old[1], new[1])):
                self._signals.pair_again(int(past.slots[place]), old, new, int(past.times[place]))
        for place in np.flatnonzero(speaks & ~spoke).tolist():
            slots, times = self._recent(place, left)
            self._signals.act(int(past.slots[place]), slots, times, self._context, int(past.times[place]))

    def _recent(self, place: int, there: NDArray[np.bool_]) -> RecentArrays:
        return recent_before(self._past.where(there & (self._order < self._order[place])), self._span)
