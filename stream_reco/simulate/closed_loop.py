"""A world in which people see only what is recommended to them, to compare ways of recommending.

What an arm shows decides what it can learn from: nobody clicks what was never shown. People look, click and forget as
in `World`; besides, they declare tastes, dislike what does not suit them, and go on from a click to a second action.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from stream_reco.events import Action, Id
from stream_reco.simulate.arrivals import TICK_MS, Arrivals, Visit
from stream_reco.simulate.delays import Delay
from stream_reco.simulate.draws import Draw, generator
from stream_reco.simulate.world import HOUR_MS, ClickModel, World

_TENTHS, _REQUESTS_PER_TICK = 10, 10


@dataclass(frozen=True)
class SecondAction:
    """What a share of `rate` of the clicks leads to, after `delay` from the click, such as a purchase."""

    kind: str
    rate: float
    delay: Delay


@dataclass(frozen=True)
class WorldPlan:
    """The numbers of a closed-loop world. Lives are shares of its length, which follows from its requests."""

    name: str
    requests: int
    requests_per_hour: float
    second: SecondAction
    click_delay: Delay
    users: int = 300
    items: int = 480
    topics: int = 8
    interests: int = 2
    item_life: float = 1.0
    """Mean life; 1: a tenth of the items is renewed in each tenth of the requests."""
    interest_life: float = 2.0
    """How long an interest takes from one topic to another."""
    position_bias: float = 0.5
    dislike_rate: float = 0.02
    """Share of what is looked at, matches not at all and is not clicked, that is disliked."""
    clicks: ClickModel = field(default_factory=ClickModel)

    @property
    def length_ms(self) -> int:
        """How long the expected number of requests takes."""
        return round(self.requests / self.requests_per_hour * HOUR_MS)


class ClosedLoopWorld(World):
    """The world of a plan. The same seed gives the same people, items and requests."""

    topic_feature: ClassVar[str] = "category"

    def __init__(self, plan: WorldPlan, seed: int, start_ms: int = 1_700_000_000_000) -> None:
        super().__init__(
            seed,
            users=plan.users,
            items=plan.items,
            topics=plan.topics,
            interests=plan.interests,
            interest_life_ms=round(plan.length_ms * plan.interest_life),
            item_life_ms=round(plan.length_ms * plan.item_life),
            requests_per_second=plan.requests_per_hour / 3600,
            position_bias=plan.position_bias,
            click_delay=plan.click_delay,
            purchase_rate=plan.second.rate,
            purchase_delay=plan.second.delay,
            clicks=plan.clicks,
            start_ms=start_ms,
        )
        self.plan = plan
        # Where requests are rare, most of the default ticks would be empty.
        tick_ms = max(TICK_MS, round(_REQUESTS_PER_TICK / plan.requests_per_hour * HOUR_MS))
        per_second = plan.requests_per_hour / 3600
        self._arrivals = Arrivals(seed, plan.users, per_second, start_ms, tick_ms)

    def visits(self, requests: int) -> Iterator[Visit]:
        """Yield the first `requests` requests, by time; the plan's number takes about its length."""
        left, now = requests, self.start_ms
        while left:
            now += max(1, self.plan.length_ms // _TENTHS)
            for visit in self.step(now)[:left]:
                left -= 1
                yield visit

    def births(self, until: int) -> dict[int, int]:
        """Return item → birth (ms) of all items that were alive at any time from the start to `until`.

        Items that were there from the start are born before it.
        """
        born = {item: at for at, item, is_born in self._catalogue.changes(self.start_ms, until) if is_born}
        shelf = self._catalogue.shelf(self.start_ms)
        return dict(zip(shelf.ids.tolist(), shelf.births.tolist(), strict=True)) | born

    def is_available(self, item: Id, now: int) -> bool:
        """Return whether an item can be recommended at `now`, ms."""
        return isinstance(item, int) and self._catalogue.alive(item, now)

    def _actions(self, user: int, slate: Sequence[Id], now: int, request: Id) -> list[Action]:
        rng = generator(self.seed, Draw.RESPONSE, user, now)
        looked = rng.random(len(slate)) < self.examination(len(slate))
        chances, misfit = self._probabilities(user, slate, now), self._misfit(user, slate, now)
        actions: list[Action] = []
        for place, item in enumerate(slate):
            draw, later = rng.random(2), rng.random()
            delay, second = self.plan.click_delay.draw(rng), self.plan.second.delay.draw(rng)
            if not looked[place] or item in slate[:place]:
                continue
            if draw[0] < chances[place]:
                kinds = [("click", delay)]
                if later < self.plan.second.rate:
                    kinds.append((self.plan.second.kind, delay + second))
            elif draw[1] < self.plan.dislike_rate * misfit[place]:
                kinds = [("dislike", delay)]
            else:
                continue
            self._remember(user, item, now)
            for kind, after in kinds:
                actions.append(
                    Action(
                        event_id=f"{request}:{place + 1}:{kind}",
                        request_id=request,
                        user_id=user,
                        item_id=item,
                        action=kind,
                        timestamp=now + after,
                    )
                )
        return actions

    def _misfit(self, user: int, slate: Sequence[Id], now: int) -> list[float]:
        """From 0 for what lies in the direction of an interest to 1 for what lies in that of none."""
        tastes = self._tastes.at(self._known(user), now)
        vectors = [self._catalogue.item(int(item)).vector for item in slate]
        return [1.0 - float(np.clip((tastes @ vector).max(), 0.0, 1.0)) for vector in vectors]
