"""Simulated users, who use the server as real ones would: over HTTP, in real time."""

from __future__ import annotations

import heapq
import json
from collections import deque
from itertools import count
from typing import ClassVar

from stream_reco.cli.demo.unclicked_items import UnclickedItems
from stream_reco.cli.server.client import Client, Sent, bodies
from stream_reco.events import Action, Event, Id, ItemEvent, UserEvent
from stream_reco.metrics import PROGRESSIVE
from stream_reco.signals.settings import DAY_MS
from stream_reco.simulate import Delay, Visit, World

DEMO_DAY_MS = 120_000
_DECLARE_MS = 5_000
"""How often people are asked whether they like something else now."""
_CATEGORIES = ("shoes", "hats", "books", "games", "tools", "plants", "music", "tea")
SLATE = 10
RECENT = 1_000
SETTINGS: dict[str, object] = {
    "labels.window_days": 14 * DEMO_DAY_MS / DAY_MS,
    "labels.lateness_seconds": 2.0,
}
"""A day lasts two minutes here, so that tastes drift, items come and go, and labels mature within half an hour."""


class DemoWorld(World):
    """A world whose items have a category by name, which people name as what they like."""

    topic_feature: ClassVar[str] = "category"

    def topic_name(self, topic: int) -> str:
        """Return the name of a category."""
        return _CATEGORIES[topic]


def demo_world(seed: int, now: int) -> World:
    """A small, fast world that begins at `now` (ms); it has few topics, so that few users suffice to learn them."""
    return DemoWorld(
        seed,
        users=300,
        items=300,
        topics=len(_CATEGORIES),
        interests=2,
        interest_life_ms=15 * DEMO_DAY_MS,
        item_life_ms=15 * DEMO_DAY_MS,
        requests_per_second=20.0,
        click_delay=Delay(median_ms=2_000, sigma=0.7, most_ms=30_000),
        purchase_delay=Delay(median_ms=10_000, sigma=0.7, most_ms=50_000),
        start_ms=now,
    )


class DemoScore:
    """Expected clicks per slate over the last requests: of served, random and the best possible slates."""

    def __init__(self) -> None:
        self.requests = 0
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=RECENT)

    def add(self, served: float, by_chance: float, best: float) -> None:
        """Count one request."""
        self.requests += 1
        self._recent.append((served, by_chance, best))

    def means(self) -> tuple[float, float, float]:
        """Mean expected clicks a slate: served, by chance, best; zeros before the first."""
        if not self._recent:
            return 0.0, 0.0, 0.0
        served, by_chance, best = (sum(column) / len(self._recent) for column in zip(*self._recent, strict=True))
        return served, by_chance, best

    def shares(self) -> tuple[float, float]:
        """The expected clicks of served and of random slates, as shares of the best possible: 0 to 1."""
        served, by_chance, best = self.means()
        return (served / best, by_chance / best) if best > 0 else (0.0, 0.0)

    def in_words(self) -> str:
        """The means, and what share of the best possible they are."""
        served, by_chance, best = self.means()
        share, share_by_chance = self.shares()
        return (
            f"{served:.3f} served ({share:.0%} of the best possible), {by_chance:.3f} at random"
            f" ({share_by_chance:.0%}), {best:.3f} best possible"
        )

    def show(self) -> None:
        """Set the gauges that the dashboard draws."""
        served, by_chance, best = self.means()
        share, share_by_chance = self.shares()
        PROGRESSIVE.labels("share_of_oracle").set(share)
        PROGRESSIVE.labels("share_of_oracle_by_chance").set(share_by_chance)
        PROGRESSIVE.labels("regret").set(best - served)
        PROGRESSIVE.labels("regret_of_chance").set(best - by_chance)


class SimulatedUsers:
    """All simulated users; `step` performs everything that was due since the previous step."""

    def __init__(self, world: World, client: Client) -> None:
        self.score = DemoScore()
        self.sent = Sent()
        self.new_items = UnclickedItems()
        self._world, self._client = world, client
        self._stepped: int | None = None
        self._declare_at = 0
        self._likes: dict[Id, list[str]] = {}
        self._scheduled: list[tuple[int, int, Action]] = []
        self._order = count()

    def step(self, now: int) -> None:
        """Send changed items and tastes, request slates, send their impressions and the clicks that are due.

        `now` is in ms.
        """
        events = [*self._changed_items(now), *self._changed_tastes(now)]
        self._stepped = now
        for request in self._world.step(now):
            events += self._request_slate(request)
        while self._scheduled and self._scheduled[0][0] <= now:
            action = heapq.heappop(self._scheduled)[2]
            self.new_items.click(action.item_id)
            events.append(action)
        for size, body in bodies(events, 1_000):
            self.sent.add(size, self._client.post("/v1/events", body))
        self.score.show()

    def _changed_items(self, now: int) -> list[Event]:
        events = self._world.item_events(self._stepped, now)
        for event in events:
            if self._stepped is None or not isinstance(event, ItemEvent):
                continue
            if event.available:
                self.new_items.add(event.item_id, str(event.features[self._world.topic_feature]))
            else:
                self.new_items.discard(event.item_id)
        return events

    def _changed_tastes(self, now: int) -> list[Event]:
        """What people like now, of those who like something else than before; at first of all."""
        if now < self._declare_at:
            return []
        self._declare_at = now + _DECLARE_MS
        events = self._world.user_events(now)
        for event in events:
            if isinstance(event, UserEvent):
                likes = event.features["tastes"]
                self._likes[event.user_id] = [str(one) for one in likes] if isinstance(likes, list) else []
        return events

    def _request_slate(self, request: Visit) -> list[Event]:
        """Request a slate; returns its impressions and schedules the responses."""
        user, at, world = request.user_id, request.timestamp, self._world
        body = {"user_id": user, "k": SLATE, "context": request.context}
        slate = self._client.post("/v1/recommend", json.dumps(body).encode())
        items = [item["item_id"] for item in slate["items"]]
        self.new_items.show(self._likes.get(user, ()), items)
        self.score.add(
            world.expected_clicks(user, items, at),
            world.expected_clicks(user, world.random_slate(user, SLATE, at), at),
            world.expected_clicks(user, world.oracle_slate(user, SLATE, at), at),
        )
        propensities = [item.get("propensity") for item in slate["items"]]
        events = world.respond(
            user, items, at, request_id=slate["request_id"], propensities=propensities, context=request.context
        )
        for event in events:
            if isinstance(event, Action):
                heapq.heappush(self._scheduled, (event.timestamp, next(self._order), event))
        return events[: len(items)]
