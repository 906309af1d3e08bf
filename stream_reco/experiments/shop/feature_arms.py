"""Arms that read what people declare: a ridge regression and LinUCB. They tell what features are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Event, Id, Impression, UserEvent
from stream_reco.experiments.shop.arm import Floats, SlotArm, Slots
from stream_reco.experiments.shop.item_arms import is_click

_RIDGE = 1.0
_SOLVE_EVERY = 100
"""Impressions between two solutions: the coefficients hardly move in between."""
_EPSILON = 0.05
"""Share of places that the regression leaves to chance: without it, it never leaves the first categories it knows."""
_ALPHA = 0.5
"""Of LinUCB: how many standard errors are added."""


class DeclaredTastes:
    """The tastes that each user declares, as vectors: a constant, then 1 for each category that is declared."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._vectors: dict[Id, Floats] = {}

    def number_of(self, category: object) -> int:
        """The number of a category, from 0; there are at most `SIZE` − 1."""
        return self._numbers.setdefault(category, len(self._numbers))

    def of(self, user: Id) -> Floats:
        """float64[SIZE]; nothing but the constant for somebody unknown."""
        return self._vectors.get(user, _NOTHING)

    def observe(self, event: UserEvent) -> None:
        """Take what a user declares, instead of what was declared before."""
        vector = _NOTHING.copy()
        tastes = event.features.get("tastes")
        for category in tastes if isinstance(tastes, list) else []:
            vector[1 + self.number_of(category)] = 1.0
        self._vectors[event.user_id] = vector


SIZE = 17
"""A constant and up to 16 categories."""
_NOTHING = np.zeros(SIZE)
_NOTHING[0] = 1.0


class RidgeOnTastes(SlotArm):
    """Clicks regressed on category × declared taste, best first; one place in twenty at random.

    An impression counts as no click until its click comes.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, _EPSILON)
        self._tastes = DeclaredTastes()
        self._squares: dict[int, Floats] = {}
        self._products: dict[int, Floats] = {}
        self._solved: dict[int, NDArray[np.floating[Any]]] = {}
        self._since = 0

    def scores(self, user: int, slots: Slots) -> Floats:
        taste = self._tastes.of(user)
        # Of one category all have the same score, so a category is a regression of its own.
        by_category = {number: float(taste @ weights) for number, weights in self._solved.items()}
        numbers = [self._tastes.number_of(self.known.categories[slot]) for slot in slots.tolist()]
        return np.array([by_category.get(number, 0.0) for number in numbers])

    def learn(self, event: Event) -> None:
        if isinstance(event, UserEvent):
            self._tastes.observe(event)
        elif isinstance(event, Impression):
            category, taste = self._row(event.user_id, event.item_id)
            self._squares[category] += np.outer(taste, taste)
            self._since += 1
            if self._since % _SOLVE_EVERY == 0:
                self._solved = {
                    one: np.linalg.solve(squares, self._products[one]) for one, squares in self._squares.items()
                }
        elif is_click(event):
            category, taste = self._row(event.user_id, event.item_id)
            self._products[category] += taste

    def _row(self, user: Id, item: Id) -> tuple[int, Floats]:
        category = self._tastes.number_of(self.known.categories[self.known.slots[item]])
        if category not in self._squares:
            self._squares[category] = _RIDGE * np.eye(SIZE)
            self._products[category] = np.zeros(SIZE)
        return category, self._tastes.of(user)


class LinUcb(SlotArm):
    """LinUCB with a model for each item over the user's declared tastes (Li et al., WWW 2010, algorithm 1).

    In NumPy, for all items at once: the libraries' own score one item at a time, which takes minutes for what takes
    seconds here.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._tastes = DeclaredTastes()
        self._inverses = np.empty((0, SIZE, SIZE))
        self._products = np.empty((0, SIZE))

    def scores(self, user: int, slots: Slots) -> Floats:
        self._reach(int(slots.max(initial=-1)))
        taste = self._tastes.of(user)
        used = np.flatnonzero(taste)
        inverses, products = self._inverses[slots], self._products[slots]
        mean = np.einsum("d,sde,se->s", taste[used], inverses[:, used], products)
        spread = inverses[np.ix_(np.arange(len(slots)), used, used)].sum(axis=(1, 2))
        bounds: Floats = mean + _ALPHA * np.sqrt(np.maximum(0.0, spread))
        return bounds

    def learn(self, event: Event) -> None:
        if isinstance(event, UserEvent):
            self._tastes.observe(event)
        elif isinstance(event, Impression):
            slot, taste = self.known.slots[event.item_id], self._tastes.of(event.user_id)
            self._reach(slot)
            # The inverse of what an outer product is added to (Sherman and Morrison 1950).
            moved = self._inverses[slot] @ taste
            self._inverses[slot] -= np.outer(moved, moved) / (1.0 + taste @ moved)
        elif is_click(event) and event.item_id in self.known.slots:
            self._products[self.known.slots[event.item_id]] += self._tastes.of(event.user_id)

    def _reach(self, slot: int) -> None:
        missing = slot + 1 - len(self._products)
        if missing > 0:
            more = max(missing, len(self._products))
            self._inverses = np.concatenate([self._inverses, np.tile(np.eye(SIZE) / _RIDGE, (more, 1, 1))])
            self._products = np.concatenate([self._products, np.zeros((more, SIZE))])
