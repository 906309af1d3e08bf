"""A log, predicted first and learned from after: before each positive action all items that are open to its user are
scored, whatever would have been retrieved."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets import Log
from stream_reco.events import Action, Event, Id, ItemEvent
from stream_reco.experiments.cold_start.first_events import FirstEvents, RankQuality, rank_quality
from stream_reco.experiments.cold_start.plan import OURS, POPULAR
from stream_reco.serve.service import Accepted

FEW = 10
"""What is beyond the first events of a user and of an item both is frequent, and evaluated only now and then."""
_MOST_EVENTS = 256


class ScoringLoop(Protocol):
    """The part of an engine that a walk uses."""

    def ingest(self, events: Sequence[Event]) -> Accepted: ...

    def score(self, user_id: Id, item_ids: Sequence[Id], *, now: int) -> NDArray[np.float32]: ...

    def sync(self) -> int: ...


@dataclass(frozen=True)
class WalkPlan:
    """The first `warm_up` actions are learned from but not evaluated; a sync every `interval_ms` of event time.

    `weigh` gives the weight of an action, 0 for one that is not positive. Of frequent events one in `every` counts, and
    stands for all of them.
    """

    warm_up: int
    interval_ms: int
    weigh: Callable[[Action], float]
    every: int = 16


class KnownSoFar:
    """Which items there are, who acted on what, and how often."""

    def __init__(self) -> None:
        self.items: dict[Id, int] = {}
        """Item → its place."""
        self.ids: list[Id] = []
        self.of_users: Counter[Id] = Counter()
        """Positive actions of each user."""
        self.of_items: Counter[Id] = Counter()
        self._gone: set[int] = set()
        self._acted: defaultdict[Id, set[int]] = defaultdict(set)

    def take(self, event: Event, *, positive: bool) -> None:
        """Take an item's announcement, or an action."""
        if isinstance(event, ItemEvent):
            place = self._place(event.item_id)
            (self._gone.add if event.available is False else self._gone.discard)(place)
        elif isinstance(event, Action):
            self._acted[event.user_id].add(self._place(event.item_id))
            self.of_users[event.user_id] += positive
            self.of_items[event.item_id] += positive

    def open_to(self, user_id: Id, item_id: Id) -> tuple[list[Id], int]:
        """The items that there are and that a user has not acted on, `item_id` in any case, and its place there."""
        self._place(item_id)
        closed = self._gone | self._acted[user_id]
        found = [one for one, place in self.items.items() if place not in closed or one == item_id]
        return found, found.index(item_id)

    def _place(self, item_id: Id) -> int:
        place = self.items.setdefault(item_id, len(self.ids))
        if place == len(self.ids):
            self.ids.append(item_id)
        return place


class RankedLog:
    """Events on their way to a loop, which has learned from all of them before anything is ranked or published."""

    def __init__(self, loop: ScoringLoop, watch: Callable[[int], None] = lambda _: None) -> None:
        """`watch` is called with the number of events learned from, now and then."""
        self.known = KnownSoFar()
        self.seconds = {"ingest": 0.0, "score": 0.0}
        self._loop, self._watch = loop, watch
        self._batch: list[Event] = []
        self._events = 0

    def take(self, event: Event, *, positive: bool) -> None:
        """Take an event, after whatever is ranked without it."""
        self.known.take(event, positive=positive)
        self._batch.append(event)
        if len(self._batch) >= _MOST_EVENTS:
            self.learn()

    def learn(self) -> None:
        """Let the loop learn from what waits, so that it knows everything before the next event."""
        if not self._batch:
            return
        started = time.perf_counter()
        self._loop.ingest(self._batch)
        self.seconds["ingest"] += time.perf_counter() - started
        self._events += len(self._batch)
        self._batch = []
        self._watch(self._events)

    def publish(self) -> None:
        """Let what was learned be served."""
        self.learn()
        self._loop.sync()

    def rank(self, action: Action) -> dict[str, RankQuality] | None:
        """Where the loop, and popularity, have the item among all that are open to the user; None if it is alone."""
        items, target = self.known.open_to(action.user_id, action.item_id)
        if len(items) < 2:
            return None
        self.learn()
        started = time.perf_counter()
        scores = self._loop.score(action.user_id, items, now=action.timestamp)
        self.seconds["score"] += time.perf_counter() - started
        counts = np.array([self.known.of_items[one] for one in items], dtype=np.float64)
        return {OURS: rank_quality(scores, target), POPULAR: rank_quality(counts, target)}


class ColdStartWalk:
    """One pass of a log through a loop; `watch` is called with the number of events so far, now and then."""

    def __init__(self, loop: ScoringLoop, plan: WalkPlan, watch: Callable[[int], None] = lambda _: None) -> None:
        self.found = FirstEvents()
        self._plan = plan
        self._ranked = RankedLog(loop, watch)
        self._actions = 0
        self._sync_at: int | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """What learning and scoring took."""
        return self._ranked.seconds

    def run(self, log: Log) -> FirstEvents:
        """Walk all of it."""
        for event in log:
            self._pass_time(event.timestamp)
            positive = isinstance(event, Action) and self._plan.weigh(event) > 0
            if isinstance(event, Action):
                self._actions += 1
                if positive and self._actions > self._plan.warm_up:
                    self._evaluate(event)
            self._ranked.take(event, positive=positive)
        self._ranked.learn()
        return self.found

    def _pass_time(self, now: int) -> None:
        if self._sync_at is None or now >= self._sync_at:
            self._ranked.publish()
            self._sync_at = now + self._plan.interval_ms

    def _evaluate(self, action: Action) -> None:
        known = self._ranked.known
        of_user, of_item = known.of_users[action.user_id] + 1, known.of_items[action.item_id] + 1
        frequent = min(of_user, of_item) > FEW
        if frequent and (of_user + of_item) % self._plan.every:
            return
        qualities = self._ranked.rank(action)
        if qualities is not None:
            self.found.add(of_user, of_item, qualities, self._plan.every if frequent else 1.0)
