"""What a second shop has from the first one: the same engine, started empty and started by transfer.

    python -m tests.bench.bench_transfer films --data DIR --seed 0
    python -m tests.bench.bench_transfer shop --seed 0

films: MovieLens, its films split at random into two catalogues and its people into two halves. The first shop learns
from the one half's ratings of the one catalogue; then those of the other half on the other catalogue walk through the
second shop: before each rating of 4 or 5 stars all films that its user has not rated are ranked.
shop, news, jobs: a simulated world with declared tastes; the second shop is a world of another seed, with other people
and items, whose people see only what is recommended to them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.transfer import teach, transfer
from stream_reco.events import Action, Event, ItemEvent, UserEvent
from stream_reco.experiments.cold_start.first_events import RankQuality, rank_quality
from stream_reco.experiments.cold_start.walk import KnownSoFar
from stream_reco.experiments.shop.closed_loop import ClosedLoop
from stream_reco.experiments.shop.engine_arm import EngineArm
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS
from stream_reco.terminal.log_options import Format, LogChoice
from stream_reco.terminal.settings import loop_settings, settings_of

EMPTY, TRANSFERRED, POPULAR = "started empty", "started by transfer", "popularity"
FIRST_RATINGS = (100, 300, 1_000, 3_000)
FIRST_REQUESTS = (100, 300)
_BATCH = 256
_SYNC_MS = 60_000
_OTHER_WORLD = 1_000
"""Added to the seed of the first shop's world."""
Events = Sequence[Event]


def halves(events: Events, seed: int) -> tuple[list[Event], list[Event]]:
    """The events of the first shop, and those of the second one, which has no item and no user of the first."""
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


def learn(engine: Engine, events: Events) -> None:
    """Let an engine take all of it."""
    for start in range(0, len(events), _BATCH):
        engine.ingest(events[start : start + _BATCH])


class Walk:
    """The first ratings of a shop, each ranked before it is learned from: by an engine, and by popularity."""

    def __init__(self, engine: Engine, weigh: Callable[[Action], float]) -> None:
        self.found: list[tuple[int, RankQuality, RankQuality]] = []
        """Of each positive rating its number among all, and the quality of both rankings."""
        self._engine, self._weigh = engine, weigh
        self._known, self._waiting, self._sync_at, self._ratings = KnownSoFar(), list[Event](), 0, 0

    def run(self, events: Iterable[Event], ratings: int) -> Walk:
        """Walk until so many ratings have come."""
        for event in events:
            self._ratings += isinstance(event, Action)
            if self._ratings > ratings:
                break
            if event.timestamp >= self._sync_at:
                self._learn()
                self._engine.sync()
                self._sync_at = event.timestamp + _SYNC_MS
            positive = isinstance(event, Action) and self._weigh(event) > 0
            if isinstance(event, Action) and positive:
                self._rank(event)
            self._known.take(event, positive=positive)
            self._waiting.append(event)
        return self

    def _rank(self, action: Action) -> None:
        self._learn()
        items, target = self._known.open_to(action.user_id, action.item_id)
        scores = self._engine.score(action.user_id, items, now=action.timestamp)
        counts = np.array([self._known.of_items[one] for one in items], dtype=np.float64)
        self.found.append((self._ratings, rank_quality(scores, target), rank_quality(counts, target)))

    def _learn(self) -> None:
        learn(self._engine, self._waiting)
        self._waiting = []

    def figures(self, ranking: int) -> dict[str, dict[str, float]]:
        """Of the first so many ratings HR@10 and AUC; `ranking` 1 is the engine's, 2 by popularity."""
        found = {}
        for most in FIRST_RATINGS:
            of_first = [one for one in self.found if one[0] <= most]
            if self._ratings < most:
                break
            hits, areas = ([getattr(one[ranking], name) for one in of_first] for name in ("hit", "auc"))
            found[f"{most:,}"] = {
                "ranked": len(of_first),
                "hr@10": round(float(np.mean(hits)), 4),
                "auc": round(float(np.mean(areas)), 4),
            }
        return found


def films(data: Path, seed: int, arms: Sequence[str], learned: int | None, ratings: int) -> dict[str, object]:
    """The films of two shops: the first one learns from `learned` events (None: all), `ratings` come to the second."""
    settings = loop_settings(None, {"training.seed": seed}, Format.movielens)
    choice = LogChoice(data / "ml100k" / "ratings.csv.gz", Format.movielens)
    first, second = halves(list(choice.read(SystemClock().now_ms(), settings.serve.future_seconds)), seed)
    first = first[:learned]
    found: dict[str, object] = {"learned from": len(first)}
    with tempfile.TemporaryDirectory() as scratch:
        for arm in arms:
            folder = Path(scratch) / "second" if arm == TRANSFERRED else None
            if folder is not None:
                found["transferred"] = str(_transferred(first, settings, Path(scratch) / "first", folder))
            with Engine(folder, settings) as engine:
                walk = Walk(engine, settings.labels.action_kinds.weight).run(second, ratings)
            found |= {arm: walk.figures(1), POPULAR: walk.figures(2)}
    return found


def _transferred(events: Events, settings: Settings, first: Path, second: Path) -> object:
    with Engine(first, settings) as engine:
        learn(engine, events)
        engine.checkpoint()
    return transfer(first, second, settings)


def shop(world: str, seed: int, requests: int, arms: Sequence[str]) -> dict[str, object]:
    """Two simulated worlds: click-through by what is true of the second one, over its first requests."""
    settings = settings_of(None, {"training.seed": seed}).settings
    found: dict[str, object] = {}
    with _first_world(world, seed, requests, settings, wanted=TRANSFERRED in arms) as first:
        for arm in arms:
            arm_of_second = EngineArm(settings)
            with arm_of_second.engine as engine:
                if arm == TRANSFERRED:
                    found["transferred"] = str(teach(engine.learner, first.learner))
                found[arm] = _click_through(ClosedLoopWorld(WORLD_PLANS[world], seed + _OTHER_WORLD), arm_of_second)
    return found


@contextmanager
def _first_world(world: str, seed: int, requests: int, settings: Settings, *, wanted: bool) -> Iterator[Engine]:
    arm = EngineArm(settings)
    with arm.engine as engine:
        if wanted:
            ClosedLoop(ClosedLoopWorld(WORLD_PLANS[world], seed), arm, requests).run()
        yield engine


def _click_through(world: ClosedLoopWorld, arm: EngineArm) -> dict[str, float]:
    found: dict[str, float] = {}
    loop = ClosedLoop(world, arm, FIRST_REQUESTS[-1], lambda done: note(done))
    outcome = loop.outcome

    def note(done: int) -> None:
        if done in FIRST_REQUESTS:
            figures = outcome.as_dict()
            found[f"{done:,}"] = round(figures["click_through"], 4)
            found[f"{done:,} of the oracle's"] = round(figures["share_of_oracle"], 4)

    loop.run()
    return found


def main() -> None:
    """Print the figures of one world as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=["films", *WORLD_PLANS])
    parser.add_argument("--data", type=Path, help="folder that has ml100k; for films")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=3_000, help="of the first simulated shop")
    parser.add_argument("--learned", type=int, help="events that the first shop of films learns from; default all")
    parser.add_argument("--ratings", type=int, default=FIRST_RATINGS[-1], help="of the second shop of films")
    parser.add_argument("--arms", nargs="+", default=[EMPTY, TRANSFERRED])
    given = parser.parse_args()
    if given.world == "films":
        found = films(given.data, given.seed, given.arms, given.learned, given.ratings)
    else:
        found = shop(given.world, given.seed, given.requests, given.arms)
    print(json.dumps({"world": given.world, "seed": given.seed} | found, indent=1))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
