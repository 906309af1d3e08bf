"""A stream of impressions that no arm has chosen: slates by lot, and what the people of a simulated world do with them.

All arms see the same impressions. Some items are promoted more than others, whoever looks, so that the items of any
moment differ in how often they have been shown; what is shown says nothing of what the person likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Event, Id
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import SHOP
from stream_reco.simulate.world import ClickModel
from stream_reco.simulate.world_news import WorldNews

SLATE = 10
PROBES = 30
"""Items drawn uniformly of those there are, whose scores are compared with their true chances at each request."""
_PROMOTION = 1.0
"""Standard deviation of the logarithm of how often an item is shown against others."""
HANDOVER = replace(
    SHOP,
    name="handover",
    items=240,
    item_life=0.5,
    clicks=ClickModel(base=-4.0, match=5.5, ageing=0.0, quality=1.0, topic_skew=0.0, topic_spread=0.25),
)
"""A shop in which a category says who likes an item, and only clicks say how good it is (one on the log-odds), and
which of a category's items are for whom. Each item is there for half of the ten hours on average."""


@dataclass(frozen=True)
class ProbedRequest:
    """A request of the stream: what happened before it, what it shows, and what is true of some items by then."""

    now: int
    user: int
    before: Sequence[Event]
    """Births, deaths, declarations and actions since the request before, by time."""
    shown: Sequence[Event]
    """The impressions."""
    probes: Sequence[Id]
    chances: NDArray[np.float64]
    """float64[PROBES]: the true chances that the user clicks the probes, at a place of a slate by lot."""
    of_items: NDArray[np.int64]
    """int64[PROBES]: impressions of each so far."""
    of_user: int
    """Requests of the user so far."""


class WorldStream:
    """The stream of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed, self._world = seed, ClosedLoopWorld(HANDOVER, seed)
        self._rng = np.random.default_rng([seed, 1])
        self._impressions: Counter[Id] = Counter()
        self._requests: Counter[int] = Counter()
        self._promotions: dict[Id, float] = {}
        self._news = WorldNews(self._world)

    def requests(self, total: int) -> Iterator[ProbedRequest]:
        """Yield the first `total` requests, by time."""
        world = self._world
        looked = float(world.examination(SLATE).mean())
        for visit in world.visits(total):
            user, now = visit.user_id, visit.timestamp
            before = self._news.until(now)
            there = self._open_to(user, now)
            probes = list(there)[:PROBES]
            slate = self._slate(list(there))
            of_items = np.array([self._impressions[item] for item in probes], dtype=np.int64)
            events = world.respond(user, slate, now)
            self._news.schedule(events[SLATE:])
            chances = looked * np.array([there[item] for item in probes])
            shown = events[:SLATE]
            yield ProbedRequest(now, user, before, shown, probes, chances, of_items, self._requests[user])
            self._impressions.update(slate)
            self._requests[user] += 1

    def _open_to(self, user: int, now: int) -> dict[Id, float]:
        """What is there and the user has not clicked, in an order by lot, with the true chance once it is looked at."""
        items = self._world.random_slate(user, self._world.items, now)
        chances = self._world.click_probabilities(user, items, now).tolist()
        return {item: chance for item, chance in zip(items, chances, strict=True) if chance > 0.0}

    def _slate(self, there: Sequence[Id]) -> list[Id]:
        promotions = np.exp([self._promotion(item) for item in there])
        chosen = self._rng.choice(len(there), SLATE, replace=False, p=promotions / promotions.sum())
        # Drawn without replacement the most promoted come first; places go by lot.
        return [there[place] for place in self._rng.permutation(chosen).tolist()]

    def _promotion(self, item: Id) -> float:
        if item not in self._promotions:
            self._promotions[item] = _PROMOTION * float(np.random.default_rng([self._seed, 2, int(item)]).normal())
        return self._promotions[item]
