"""Several engines that see the same events, and score the same candidates before they learn from what comes next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.datasets import Log
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id
from stream_reco.experiments.cold_start.walk import KnownSoFar
from stream_reco.experiments.handover.paired_tally import (
    PairedTally,
    choice_shares,
    quality_by_chances,
    quality_of_choice,
)
from stream_reco.experiments.handover.world_stream import ProbedRequest, WorldStream

WORLD_SYNC_MS = 1_000
"""Of event time between two publications in the world: what a server does by default."""
LOG_SYNC_MS = 60_000
"""Of event time between two publications of a log: what `replay` does by default."""
_MOST_EVENTS = 256
Watch = Callable[[int], None]


@dataclass(frozen=True)
class Span:
    """What is evaluated of the first `total`: after `warm_up`, one in `every`."""

    total: int
    warm_up: int
    every: int = 1

    def counts(self, number: int) -> bool:
        """Whether the one of this number, from 0, is evaluated."""
        return number >= self.warm_up and (number - self.warm_up) % self.every == 0


class SideBySide:
    """An engine in memory for each arm; a context manager."""

    def __init__(self, settings: Mapping[str, Settings], sync_ms: int) -> None:
        self.tally, self.evaluated = PairedTally(tuple(settings)), 0
        self.seconds = {"ingest": 0.0, "score": 0.0}
        self._settings, self._sync_ms, self._synced = settings, sync_ms, 0
        self._open = ExitStack()
        self.engines: list[Engine] = []

    def __enter__(self) -> Self:
        self.engines = [self._open.enter_context(Engine(None, one)) for one in self._settings.values()]
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def learn(self, events: Sequence[Event]) -> None:
        """Let every engine take the events."""
        if not events:
            return
        started = time.perf_counter()
        for engine in self.engines:
            # A bug of the simulation, not of the engine, would be the reason for a rejection.
            engine.ingest(events, strict=True)
        self.seconds["ingest"] += time.perf_counter() - started

    def pass_time(self, now: int, *, serve: bool) -> None:
        """Let what is to be presumed by `now`, ms, be presumed; and `serve` what was learned, if that is due."""
        publish = serve and now - self._synced >= self._sync_ms
        for engine in self.engines:
            engine.tick(now)
            if publish:
                engine.sync()
        if publish:
            self._synced = now

    def scores(self, user: Id, items: Sequence[Id], now: int) -> list[NDArray[np.float32]]:
        """float32[n] of each arm."""
        started = time.perf_counter()
        found = [engine.score(user, items, now=now) for engine in self.engines]
        self.seconds["score"] += time.perf_counter() - started
        return found


def run_world(loop: SideBySide, seed: int, span: Span, watch: Watch) -> None:
    """Run the stream of a seed; `span` counts requests."""
    for number, one in enumerate(WorldStream(seed).requests(span.total)):
        loop.learn(one.before)
        evaluated = span.counts(number)
        # Nothing of what is learned depends on what is served.
        loop.pass_time(one.now, serve=evaluated)
        if evaluated:
            _compare(loop, one)
        loop.learn(one.shown)
        watch(number + 1)


def _compare(loop: SideBySide, one: ProbedRequest) -> None:
    scores = loop.scores(one.user, one.probes, one.now)
    found = [quality_by_chances(said, one.chances, one.of_items) for said in scores]
    users = [one.user] * len(one.probes)
    loop.tally.add("all", users, None, found)
    loop.tally.add("item", one.probes, one.of_items, found)
    loop.tally.add("user", users, np.full(len(one.probes), one.of_user), found)
    loop.tally.add_levels(one.of_items, one.chances, scores)
    loop.evaluated += 1


def run_choices(loop: SideBySide, log: Log, span: Span, weigh: Callable[[Action], float], watch: Watch) -> None:
    """Run a log of actions; before positive ones all items that are open are scored. `span` counts actions.

    `weigh` gives the weight of an action, 0 for one that is not positive.
    """
    known, batch, actions = KnownSoFar(), list[Event](), 0
    for number, event in enumerate(log):
        positive = isinstance(event, Action) and weigh(event) > 0
        if positive and isinstance(event, Action) and span.counts(actions):
            loop.learn(batch)
            batch = []
            loop.pass_time(event.timestamp, serve=True)
            _compare_choice(loop, known, event)
        actions += isinstance(event, Action)
        known.take(event, positive=positive)
        batch.append(event)
        if len(batch) >= _MOST_EVENTS:
            loop.learn(batch)
            batch = []
        watch(number + 1)


def _compare_choice(loop: SideBySide, known: KnownSoFar, action: Action) -> None:
    user = action.user_id
    items, target = known.open_to(user, action.item_id)
    if len(items) < 2:
        return
    evidence = np.array([known.of_items[item] for item in items])
    scores = loop.scores(user, items, action.timestamp)
    found = [quality_of_choice(one, target, evidence) for one in scores]
    loop.tally.add("all", [user], None, found)
    loop.tally.add("item", [action.item_id], evidence[[target]], found)
    loop.tally.add("user", [user], np.array([known.of_users[user]]), found)
    loop.tally.add_levels(evidence, np.eye(1, len(items), target)[0], [choice_shares(one) for one in scores])
    loop.evaluated += 1
