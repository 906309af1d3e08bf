"""The second shop as a simulated world of another seed, whose people see only what is recommended to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.transfer import Transferred, teach
from stream_reco.events import Event
from stream_reco.experiments.shop.arm import Arm, ArmSlate
from stream_reco.experiments.shop.closed_loop import SLATE, ClosedLoop
from stream_reco.experiments.shop.engine_arm import EngineArm
from stream_reco.experiments.transfer.plan import (
    EMPTY,
    FIRST_REQUESTS,
    NEWCOMERS,
    SHARE,
    TRANSFERRED,
    ZERO_SHOT,
    row_of,
)
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS
from stream_reco.simulate.world_news import WorldNews

OTHER_WORLD = 1_000
"""Added to the seed of the first shop's world."""
Watch = Callable[[int], None]
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class JudgedSlate:
    """A slate by what is true of the world: clicks that are expected of it, and of the best one."""

    user: int
    expected: float
    best: float


class JudgedArm:
    """An arm whose slates are judged before anybody responds to them."""

    def __init__(self, arm: Arm, world: ClosedLoopWorld) -> None:
        self.slates: list[JudgedSlate] = []
        """By time."""
        self._arm, self._world = arm, world

    def slate(self, user: int, k: int, now: int) -> ArmSlate:
        """Return the slate of the arm."""
        slate = self._arm.slate(user, k, now)
        best = self._world.oracle_slate(user, k, now)
        clicks = [self._world.expected_clicks(user, list(items), now) for items in (slate.items, best)]
        self.slates.append(JudgedSlate(user, *clicks))
        return slate

    def observe(self, events: Sequence[Event]) -> None:
        """Let the arm learn."""
        self._arm.observe(events)


class TwoWorlds:
    """Two shops of one plan: the first one lives, then the second one starts with each arm."""

    def __init__(self, world: str, seed: int, settings: Settings, watch: Watch = lambda _: None) -> None:
        self.transferred: Transferred | None = None
        """What the second shop was given last."""
        self._plan, self._seed, self._settings = WORLD_PLANS[world], seed, settings
        self._watch, self._done = watch, 0

    def run(self, requests: int) -> dict[str, Figures]:
        """Let the first shop live for `requests`: arm → row → figures of the second one."""
        first = EngineArm(self._settings)
        with first.engine as source:
            ClosedLoop(ClosedLoopWorld(self._plan, self._seed), first, requests, self._count).run()
            return {arm: self._second(source if arm == TRANSFERRED else None) for arm in (EMPTY, TRANSFERRED)}

    def _second(self, source: Engine | None) -> Figures:
        return row_figures(self._of_everybody(source), self._of_the_first(source))

    def _of_everybody(self, source: Engine | None) -> list[JudgedSlate]:
        """A slate for each person at the start, none of which is shown."""
        world, arm = self._world(), self._arm(source)
        with arm.engine:
            judged = JudgedArm(arm, world)
            judged.observe(WorldNews(world).until(world.start_ms))
            for user in range(world.users):
                judged.slate(user, SLATE, world.start_ms)
        return judged.slates

    def _of_the_first(self, source: Engine | None) -> list[JudgedSlate]:
        """The slates that are shown first, by time."""
        world, arm = self._world(), self._arm(source)
        with arm.engine:
            judged = JudgedArm(arm, world)
            ClosedLoop(world, judged, FIRST_REQUESTS[-1], self._count).run()
        return judged.slates

    def _world(self) -> ClosedLoopWorld:
        return ClosedLoopWorld(self._plan, self._seed + OTHER_WORLD)

    def _arm(self, source: Engine | None) -> EngineArm:
        arm = EngineArm(self._settings)
        if source is not None:
            self.transferred = teach(arm.engine.learner, source.learner)
        return arm

    def _count(self, _: int) -> None:
        self._done += 1
        self._watch(self._done)


def row_figures(everybody: Sequence[JudgedSlate], shown: Sequence[JudgedSlate]) -> Figures:
    """Row → figures, of slates for everybody before any event and of those that were `shown`, by time."""
    newcomers = {one.user: one for one in reversed(shown)}
    rows = {ZERO_SHOT: everybody}
    rows |= {row_of(first, "requests"): shown[:first] for first in FIRST_REQUESTS if len(shown) >= first}
    return {name: _figures(slates) for name, slates in (rows | {NEWCOMERS: list(newcomers.values())}).items()}


def _figures(slates: Sequence[JudgedSlate]) -> dict[str, float]:
    expected, best = sum(one.expected for one in slates), sum(one.best for one in slates)
    return {"slates": len(slates), "click_through": expected / len(slates) / SLATE, SHARE: expected / best}
