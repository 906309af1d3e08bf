"""The whole loop with default settings: what is new gets its first impressions, with probabilities that are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.slate import Slate

START = 1_700_000_000_000
ITEMS, NEW, PEOPLE, K, TARGET = 200, 20, 40, 10, 20
REQUESTS, SYNC_EVERY, STEP_MS = 600, 10, 2_000


class Shop:
    """A small shop; people click, by chance, what they are shown, some items more than others."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rng = np.random.default_rng(5)
        self.now = START
        self.liked = self.rng.random(ITEMS + NEW) * 0.2
        self.shown: Counter[int] = Counter()

    def open(self) -> None:
        """Every item was shown often enough to be known; then a tenth of them is renewed."""
        engine = self.engine
        engine.ingest([ItemEvent(item_id=item, timestamp=START) for item in range(ITEMS)])
        for round_ in range(TARGET):
            self.now += STEP_MS
            engine.ingest([event for item in range(ITEMS) for event in self.show(item, (round_ + item) % PEOPLE, 1.0)])
        gone = [ItemEvent(item_id=item, timestamp=self.now, available=False) for item in range(NEW)]
        engine.ingest([*gone, *(ItemEvent(item_id=ITEMS + item, timestamp=self.now) for item in range(NEW))])
        engine.sync()

    def show(self, item: int, user: int, propensity: float) -> list[Event]:
        self.shown[item] += 1
        request = f"{user}-{item}-{self.now}"
        at = self.now
        events: list[Event] = [
            Impression(user_id=user, item_id=item, request_id=request, propensity=propensity, timestamp=at)
        ]
        if self.rng.random() < self.liked[item]:
            clicked = at + 500
            events.append(Action(user_id=user, item_id=item, request_id=request, action="click", timestamp=clicked))
        return events

    def request(self, number: int) -> Slate:
        self.now += STEP_MS
        user = int(self.rng.integers(PEOPLE))
        slate = self.engine.recommend(user, K)
        events = []
        for one in slate.items:
            assert isinstance(one.item_id, int)
            events += self.show(one.item_id, user, one.propensity)
        assert self.engine.ingest(events).accepted == len(events)
        if number % SYNC_EVERY == 0:
            self.engine.sync()
        return slate


def test_new_items_get_their_first_impressions() -> None:
    with Engine() as engine:
        shop = Shop(engine)
        shop.open()
        slates = [shop.request(number) for number in range(REQUESTS)]
    explored = [sum(one.source == "exploration" for one in slate.items) for slate in slates]
    assert explored == [1] * REQUESTS, "one place in ten"
    reached = sum(shop.shown[ITEMS + item] >= TARGET for item in range(NEW))
    assert reached >= 0.8 * NEW, [shop.shown[ITEMS + item] for item in range(NEW)]
    chances = [one.propensity for slate in slates for one in slate.items]
    assert min(chances) > 0.0
    assert max(chances) < 1.0, "every place might have explored"


@pytest.mark.parametrize("newcomers", [0.0, 0.2])
def test_without_exploration_nothing_is_left_to_chance(newcomers: float) -> None:
    settings = Settings(slate=SlateSettings(explore=0.0, newcomers=newcomers))
    with Engine(None, settings) as engine:
        engine.ingest([ItemEvent(item_id=item, timestamp=START - 10_000_000) for item in range(60)])
        for item in range(60):
            engine.ingest([click(f"u{user}", item, START - 5_000_000 + item) for user in range(6)])
        engine.ingest([click(f"v{user}", "new", START + user) for user in range(20)])
        engine.sync()
        slates = [engine.recommend("stranger", 20, now=START + 1_000) for _ in range(5)]
    assert all(slate.items == slates[0].items for slate in slates)
    assert {one.propensity for one in slates[0].items} == {1.0}
    assert "exploration" not in {one.source for one in slates[0].items}


def click(user: str, item: int | str, now: int) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=now)


def test_slates_come_as_often_as_they_say() -> None:
    """Each item at each place of the slates of one user, through everything that makes them."""
    with Engine(None, Settings(slate=SlateSettings(explore=0.5))) as engine:
        for item in range(8):
            engine.ingest([click(f"u{user}", item, START + item) for user in range(item + 1)])
        engine.sync()
        slates = [engine.recommend("stranger", 3, now=START + 1_000) for _ in range(800)]
    for place in range(3):
        said = {slate.items[place].item_id: slate.items[place].propensity for slate in slates}
        seen = Counter(slate.items[place].item_id for slate in slates)
        assert sum(said.values()) == pytest.approx(1.0)
        for shown, chance in said.items():
            deviation = (chance * (1 - chance) / len(slates)) ** 0.5
            assert abs(seen[shown] / len(slates) - chance) < 4.5 * deviation
