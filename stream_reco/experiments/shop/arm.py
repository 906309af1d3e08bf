"""What every way of recommending is asked for, and what all of them know of items and people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Action, Event, Id, ItemEvent

Floats = NDArray[np.float64]
Slots = NDArray[np.int64]


@dataclass(frozen=True)
class ArmSlate:
    """Items from the top, and what came with them: the request's id, propensities, predicted click probabilities."""

    items: Sequence[Id]
    request_id: Id | None = None
    propensities: Sequence[float | None] | None = None
    scores: Sequence[float] | None = None


class Arm(Protocol):
    """A way of recommending that lives in a world: it is asked for slates, and sees what became of them."""

    def slate(self, user: int, k: int, now: int) -> ArmSlate:
        """Return at most k items for a user at `now`, ms."""

    def observe(self, events: Sequence[Event]) -> None:
        """Learn from what happened, by time."""


@dataclass
class KnownItems:
    """Which items are available, by slots that are never given again, and what each user has acted on."""

    slots: dict[Id, int] = field(default_factory=dict)
    ids: list[Id] = field(default_factory=list)
    categories: list[object] = field(default_factory=list)
    available: set[int] = field(default_factory=set)
    acted_on: dict[Id, set[int]] = field(default_factory=dict)

    def observe(self, events: Iterable[Event]) -> None:
        """Take births, deaths and actions."""
        for event in events:
            if isinstance(event, ItemEvent):
                slot = self._slot(event)
                (self.available.add if event.available is not False else self.available.discard)(slot)
            elif isinstance(event, Action) and event.item_id in self.slots:
                self.acted_on.setdefault(event.user_id, set()).add(self.slots[event.item_id])

    def open_to(self, user: Id) -> Slots:
        """int64[n]: the slots of what is available and the user has not acted on, in their order."""
        return np.array(sorted(self.available - self.acted_on.get(user, set())), dtype=np.int64)

    def _slot(self, event: ItemEvent) -> int:
        slot = self.slots.setdefault(event.item_id, len(self.ids))
        if slot == len(self.ids):
            self.ids.append(event.item_id)
            self.categories.append(event.features.get("category"))
        return slot


class SlotScores:
    """A float64 for each slot, with `initial` for those that come."""

    def __init__(self, initial: float = 0.0) -> None:
        self._initial, self._values = initial, np.full(1024, initial)

    def __getitem__(self, slots: Slots) -> Floats:
        self._reach(int(slots.max(initial=0)))
        return self._values[slots]

    def add(self, slot: int, amount: float) -> None:
        """Add to one slot."""
        self._reach(slot)
        self._values[slot] += amount

    def _reach(self, slot: int) -> None:
        while slot >= len(self._values):
            self._values = np.concatenate([self._values, np.full(len(self._values), self._initial)])


class SlotArm:
    """An arm that scores each open slot and shows the best, ties at random.

    A share of `epsilon` of the places gets a random item instead.
    """

    def __init__(self, seed: int, epsilon: float = 0.0) -> None:
        self.known, self._epsilon = KnownItems(), epsilon
        self.rng = np.random.default_rng(seed)

    def slate(self, user: int, k: int, now: int) -> ArmSlate:  # noqa: ARG002 - the interface's
        """Return the k best of what is open to the user."""
        slots = self.known.open_to(user)
        scores = self.scores(user, slots)
        order = np.lexsort((self.rng.random(len(slots)), -scores))[:k]
        return ArmSlate([self.known.ids[slot] for slot in self._explore(slots[order], slots).tolist()])

    def observe(self, events: Sequence[Event]) -> None:
        """Take what is known of items and people, then learn."""
        self.known.observe(events)
        for event in events:
            self.learn(event)

    def _explore(self, chosen: Slots, slots: Slots) -> Slots:
        places = np.flatnonzero(self.rng.random(len(chosen)) < self._epsilon)
        others = np.setdiff1d(slots, chosen)
        count = min(len(places), len(others))
        chosen[places[:count]] = self.rng.choice(others, count, replace=False)
        return chosen

    def scores(self, _user: int, slots: Slots) -> Floats:
        """float64[n]: what ranks the slots for a user; all alike where there is nothing to tell."""
        return np.zeros(len(slots))

    def learn(self, event: Event) -> None:
        """Learn from one event; nothing by itself."""
