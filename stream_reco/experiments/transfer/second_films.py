"""The second shop as the other half of a log: of its items and of its people, none of whom the first one knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.transfer import Transferred, teach
from stream_reco.events import Action, Event, ItemEvent, UserEvent
from stream_reco.experiments.cold_start.first_events import RankQuality
from stream_reco.experiments.cold_start.plan import OURS
from stream_reco.experiments.cold_start.walk import RankedLog
from stream_reco.experiments.transfer.plan import (
    AUC,
    EMPTY,
    FIRST_RATINGS,
    HITS,
    POPULAR,
    TRANSFERRED,
    row_of,
)

_BATCH = 256
_SYNC_MS = 60_000
"""Of event time between two publications: what `replay` does by default."""
Watch = Callable[[int], None]
Figures = dict[str, dict[str, float]]


def halves(events: Sequence[Event], seed: int) -> tuple[list[Event], list[Event]]:
    """The events of the first shop, and those of the second one, which has no item and no user of the first.

    What a person of the one does with an item of the other is left out.
    """
    rng = np.random.default_rng(seed)
    items = dict.fromkeys(one.item_id for one in events if isinstance(one, ItemEvent))
    users = dict.fromkeys(one.user_id for one in events if isinstance(one, UserEvent))
    of_item = dict(zip(items, rng.random(len(items)) < 0.5, strict=True))
    of_user = dict(zip(users, rng.random(len(users)) < 0.5, strict=True))

    def sides(event: Event) -> Iterator[bool]:
        if isinstance(event, Action | ItemEvent):
            yield bool(of_item[event.item_id])
        if isinstance(event, Action | UserEvent):
            yield bool(of_user[event.user_id])

    return [one for one in events if all(sides(one))], [one for one in events if not any(sides(one))]


class RatingsWalk:
    """The first ratings of a shop, each ranked before it is learned from: by an engine, and by popularity."""

    def __init__(self, engine: Engine, weigh: Callable[[Action], float]) -> None:
        self.ratings = 0
        self.found: list[tuple[int, RankQuality, RankQuality]] = []
        """Of each positive rating its number among all, and the quality of both rankings."""
        self._ranked, self._weigh, self._sync_at = RankedLog(engine), weigh, 0

    def run(self, events: Iterable[Event], ratings: int, watch: Watch) -> None:
        """Walk until so many ratings have come; `watch` is called with their number so far."""
        for event in events:
            if isinstance(event, Action):
                if self.ratings == ratings:
                    break
                self.ratings += 1
                watch(self.ratings)
                # At ratings alone, so that the first one finds published what is said of items and people.
                self._publish(event.timestamp)
            positive = isinstance(event, Action) and self._weigh(event) > 0
            if isinstance(event, Action) and positive and (qualities := self._ranked.rank(event)) is not None:
                self.found.append((self.ratings, qualities[OURS], qualities[POPULAR]))
            self._ranked.take(event, positive=positive)

    def _publish(self, now: int) -> None:
        if now >= self._sync_at:
            self._ranked.publish()
            self._sync_at = now + _SYNC_MS

    def figures(self, ranking: int) -> Figures:
        """Row → figures of the first so many ratings; `ranking` 1 is the engine's, 2 by popularity."""
        found = Figures()
        for most in FIRST_RATINGS:
            of_first = [one[ranking] for one in self.found if one[0] <= most]
            if self.ratings >= most and of_first:
                hits, areas = (float(np.mean([getattr(one, name) for one in of_first])) for name in ("hit", "auc"))
                found[row_of(most, "ratings")] = {"ranked": len(of_first), HITS: hits, AUC: areas}
        return found


def learn(engine: Engine, events: Sequence[Event], watch: Watch) -> None:
    """Let an engine take all of it; `watch` is called with the number of events so far."""
    for start in range(0, len(events), _BATCH):
        engine.ingest(events[start : start + _BATCH])
        watch(min(start + _BATCH, len(events)))


class TwoCatalogues:
    """Two halves of a log: the first shop learns from the one, then the second one starts with each arm."""

    def __init__(self, events: Sequence[Event], seed: int, settings: Settings, watch: Watch = lambda _: None) -> None:
        self.transferred: Transferred | None = None
        """What the second shop was given."""
        self.first, self.second = halves(events, seed)
        self._settings, self._watch = settings, watch

    def run(self, limit: int | None) -> dict[str, Figures]:
        """Let the first shop learn from its first `limit` events (None: all): arm → row → figures of the second."""
        first = self.first[:limit]
        found: dict[str, Figures] = {}
        with Engine(None, self._settings) as source:
            learn(source, first, self._watch)
            for number, arm in enumerate((EMPTY, TRANSFERRED)):
                with Engine(None, self._settings) as engine:
                    if arm == TRANSFERRED:
                        self.transferred = teach(engine.learner, source.learner)
                    walk = RatingsWalk(engine, self._settings.labels.action_kinds.weight)
                    before = len(first) + number * FIRST_RATINGS[-1]
                    walk.run(self.second, FIRST_RATINGS[-1], partial(self._count, before))
                found |= {arm: walk.figures(1), POPULAR: walk.figures(2)}
        return found

    def _count(self, before: int, done: int) -> None:
        self._watch(before + done)
