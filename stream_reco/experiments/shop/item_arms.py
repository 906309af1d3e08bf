"""Arms that know ids alone: random, most popular, neighbours of what the user clicked, Thompson sampling."""

from __future__ import annotations

from collections import defaultdict
from math import exp, log
from typing import TypeGuard

import numpy as np

from stream_reco.events import Action, Event, Impression
from stream_reco.experiments.shop.arm import Floats, SlotArm, Slots, SlotScores

_PRIOR_CLICKS, _PRIOR_PASSES = 1.0, 19.0
"""Of Thompson sampling: a click-through of one in twenty, believed as firmly as twenty impressions would be."""
_EPSILON = 0.1
_RECENT_CLICKS = 50


class RandomArm(SlotArm):
    """What is open to the user, uniformly."""


class MostPopular(SlotArm):
    """Most clicks, which count half after `half_life_ms`."""

    def __init__(self, seed: int, half_life_ms: float) -> None:
        super().__init__(seed)
        self._rate, self._clicks = log(2.0) / half_life_ms, SlotScores()
        self._start: int | None = None

    def scores(self, _user: int, slots: Slots) -> Floats:
        return self._clicks[slots]

    def learn(self, event: Event) -> None:
        if is_click(event) and event.item_id in self.known.slots:
            self._start = event.timestamp if self._start is None else self._start
            # A later click weighs more; that all weights grow at one rate changes no order.
            self._clicks.add(self.known.slots[event.item_id], exp(self._rate * (event.timestamp - self._start)))


class ItemNeighbours(SlotArm):
    """Items that were clicked by those who clicked what the user clicked, by cosine; a tenth of places at random.

    Item-based neighbourhoods as of Sarwar et al., WWW 2001, equation 1, on clicks. Places without a neighbour are
    random: filled with the most popular items instead, fewer clicks came in the shop.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, _EPSILON)
        self._together = np.zeros((1024, 1024))
        """How many users clicked both; on the diagonal, how many clicked one."""
        self._recent: dict[object, list[int]] = defaultdict(list)

    def scores(self, user: int, slots: Slots) -> Floats:
        recent = np.array(self._recent[user], dtype=np.int64)
        self._reach(int(slots.max(initial=0)))
        clicks = np.maximum(1.0, self._together.diagonal())
        cosines = self._together[np.ix_(recent, slots)] / np.sqrt(np.outer(clicks[recent], clicks[slots]))
        summed: Floats = cosines.sum(axis=0)
        return summed

    def learn(self, event: Event) -> None:
        if not is_click(event) or event.item_id not in self.known.slots:
            return
        slot, recent = self.known.slots[event.item_id], self._recent[event.user_id]
        if slot in recent:
            return
        self._reach(slot)
        recent.append(slot)
        self._together[slot, recent] += 1.0
        self._together[recent[:-1], slot] += 1.0
        del recent[:-_RECENT_CLICKS]

    def _reach(self, slot: int) -> None:
        while slot >= len(self._together):
            self._together = np.pad(self._together, (0, len(self._together)))


class ThompsonPerItem(SlotArm):
    """A draw from each item's Beta distribution of click-through (Chapelle and Li, NIPS 2011, algorithm 2)."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._clicks, self._passes = SlotScores(_PRIOR_CLICKS), SlotScores(_PRIOR_PASSES)

    def scores(self, _user: int, slots: Slots) -> Floats:
        drawn: Floats = self.rng.beta(self._clicks[slots], np.maximum(0.5, self._passes[slots]))
        return drawn

    def learn(self, event: Event) -> None:
        if isinstance(event, Impression):
            self._passes.add(self.known.slots[event.item_id], 1.0)
        elif is_click(event) and event.item_id in self.known.slots:
            self._clicks.add(self.known.slots[event.item_id], 1.0)
            self._passes.add(self.known.slots[event.item_id], -1.0)


def is_click(event: Event) -> TypeGuard[Action]:
    """Whether an event is a click."""
    return isinstance(event, Action) and event.action == "click"
