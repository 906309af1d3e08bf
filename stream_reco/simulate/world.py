"""A world whose tastes are known, so that a recommender can be compared with the best possible one.

The click model is that of examination (Richardson, Dominowska and Ragno 2007; Craswell et al. 2008): a user looks at a
position with a probability that falls with it, and clicks what is looked at with a probability that only user, item and
time decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from stream_reco.events import Action, Event, Id, Impression, ItemEvent, UserEvent
from stream_reco.simulate.arrivals import Arrivals, Visit
from stream_reco.simulate.catalogue import LivingItems, SimulatedCatalogue
from stream_reco.simulate.delays import CLICK, PURCHASE, Delay
from stream_reco.simulate.draws import Draw, generator
from stream_reco.simulate.tastes import Floats, Tastes, TasteTopics

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_PRICES = (5.0, 50.0)


@dataclass(frozen=True)
class ClickModel:
    """What makes a click, in logits, and how uneven a world is."""

    base: float = -5.0
    """What all items start from."""
    match: float = 7.0
    """What a perfectly matching item gains."""
    ageing: float = 1.5
    """What an item loses in a lifetime."""
    quality: float = 0.5
    """Standard deviation of what items gain or lose by themselves."""
    topic_skew: float = 0.7
    """Topic n (from 1) is drawn with a weight of 1 / n to this power, by items and by people."""
    topic_spread: float = 0.35
    """How far items and interests lie from the middle of their topic, against its distance from the origin / 2."""


class World:
    """Users and items from `start_ms` on; deterministic by `seed` and the calls made, without a clock of its own.

    Times are ms since the epoch, ids integers from 0. A user clicks an item at most once. `position_bias` is the power
    of 1 / position with which a position (from 1) is looked at; `purchase_rate` of clicks become a purchase, after
    `purchase_delay` from the click.
    """

    topic_feature: ClassVar[str] = "topic"
    """The item feature that names the topic."""

    def __init__(
        self,
        seed: int,
        *,
        users: int = 1000,
        items: int = 500,
        topics: int = 20,
        dim: int = 16,
        interests: int = 4,
        interest_life_ms: int = 2 * DAY_MS,
        item_life_ms: int = 2 * DAY_MS,
        requests_per_second: float = 1.0,
        position_bias: float = 0.5,
        click_delay: Delay = CLICK,
        purchase_rate: float = 0.1,
        purchase_delay: Delay = PURCHASE,
        clicks: ClickModel | None = None,
        start_ms: int = 1_700_000_000_000,
    ) -> None:
        if min(users, items, topics, dim, interests, interest_life_ms, item_life_ms) < 1 or interests > 64:
            raise ValueError(
                "a world needs at least one user, item, topic, dimension, interest (at most 64) and ms of life"
            )
        if not (requests_per_second >= 0 and position_bias >= 0 and 0 <= purchase_rate <= 1):
            raise ValueError("rates and the position bias must not be negative, nor the purchase rate above 1")
        self.seed, self.users, self.items, self.start_ms = seed, users, items, start_ms
        self._item_life_ms, self._position_bias = item_life_ms, position_bias
        self._click_delay, self._purchase_rate, self._purchase_delay = click_delay, purchase_rate, purchase_delay
        self._model = clicks or ClickModel()
        known = TasteTopics(seed, topics, dim, self._model.topic_skew, self._model.topic_spread)
        self._tastes = Tastes(seed, known, interests, interest_life_ms)
        self._catalogue = SimulatedCatalogue(seed, known, items, item_life_ms, start_ms, self._model.quality)
        self._arrivals = Arrivals(seed, users, requests_per_second, start_ms)
        self._stepped_to = start_ms - 1
        self._clicked: dict[int, set[int]] = {}
        self._declared: dict[int, list[int]] = {}

    def step(self, now: int) -> list[Visit]:
        """Return the requests since the last step up to `now`, by time; the first step counts from the start."""
        requests = self._arrivals.between(self._stepped_to, now)
        self._stepped_to = max(self._stepped_to, now)
        return requests

    def item_events(self, since: int | None, until: int, *, vectors: bool = False) -> list[Event]:
        """Return births and deaths within since < time ≤ until; with `since=None` all that is alive, stamped `until`.

        Features are the topic, and with `vectors` the true direction in taste space.
        """
        if since is None:
            alive = self._catalogue.shelf(until).ids.tolist()
            return [self._announcement(item, until, True, vectors=vectors) for item in alive]
        changes = self._catalogue.changes(since, until)
        return [self._announcement(item, at, born, vectors=vectors) for at, item, born in changes]

    def user_events(self, now: int) -> list[Event]:
        """Return an event for each user whose declared tastes are not those of the last call: the first time, all."""
        events: list[Event] = []
        for user in range(self.users):
            topics = self._tastes.topics_at(user, now)
            if self._declared.get(user) != topics:
                self._declared[user] = topics
                tastes: list[str | int | float | bool | None] = [self.topic_name(topic) for topic in topics]
                event_id = f"user-{user}-{now}"
                events.append(UserEvent(user_id=user, features={"tastes": tastes}, event_id=event_id, timestamp=now))
        return events

    def click_probability(self, user: int, item: Id, now: int) -> float:
        """Return the true chance that a user who looks at an item at `now` clicks it; 0 for what is not alive."""
        return float(self._probabilities(user, [item], now)[0])

    def click_probabilities(self, user: int, items: Sequence[Id], now: int) -> Floats:
        """Return float64[len(items)]: `click_probability` of each; 0 for one that came before among them."""
        return self._probabilities(user, items, now)

    def expected_clicks(self, user: int, slate: Sequence[Id], now: int) -> float:
        """Return the true mean number of clicks on a slate; a repeated item counts at its first position only."""
        return float(self._probabilities(user, slate, now) @ self.examination(len(slate)))

    def examination(self, length: int) -> Floats:
        """Return float64[length]: the chance that each position, from the top, is examined; 1 for the first."""
        looked: Floats = np.arange(1, length + 1, dtype=np.float64) ** -self._position_bias
        return looked

    def oracle_slate(self, user: int, k: int, now: int) -> list[int]:
        """Return the k items with the most expected clicks, best first, which no slate can beat."""
        shelf = self._catalogue.shelf(now)
        chances = self._all_probabilities(user, shelf, now)
        best: list[int] = shelf.ids[np.argsort(-chances, kind="stable")[:k]].tolist()
        return best

    def random_slate(self, user: int, k: int, now: int) -> list[int]:
        """Return k items alive at `now`, uniformly; the same ones for the same user and time."""
        ids = self._catalogue.shelf(now).ids
        chosen: list[int] = generator(self.seed, Draw.SLATE, self._known(user), now).permutation(ids)[:k].tolist()
        return chosen

    def regret(self, user: int, slate: Sequence[Id], now: int, k: int | None = None) -> float:
        """Return the expected clicks that the oracle's slate of k (default: as long) has above this one, at least 0.

        Ask before `respond`, which remembers what was clicked.
        """
        best = self.oracle_slate(user, len(slate) if k is None else k, now)
        return max(0.0, self.expected_clicks(user, best, now) - self.expected_clicks(user, slate, now))

    def respond(
        self,
        user: int,
        slate: Sequence[Id],
        now: int,
        *,
        request_id: Id | None = None,
        propensities: Sequence[float | None] | None = None,
        context: dict[str, str | int | float | bool | None] | None = None,
    ) -> list[Event]:
        """Return the impressions of a slate shown at `now`, positions from 1, and the later actions on it, by time.

        Event ids derive from the request's id, which is made from user and time if not given.
        """
        request = f"request-{user}-{now}" if request_id is None else request_id
        known = propensities or [None] * len(slate)
        impressions = [
            Impression(
                event_id=f"{request}:{position}",
                request_id=request,
                user_id=user,
                item_id=item,
                position=position,
                propensity=propensity,
                context=context,
                timestamp=now,
            )
            for position, (item, propensity) in enumerate(zip(slate, known, strict=True), start=1)
        ]
        actions = self._actions(user, slate, now, request)
        return [*impressions, *sorted(actions, key=lambda action: action.timestamp)]

    def _actions(self, user: int, slate: Sequence[Id], now: int, request: Id) -> list[Action]:
        rng = generator(self.seed, Draw.RESPONSE, user, now)
        chances = self._probabilities(user, slate, now) * self.examination(len(slate))
        actions = []
        for at in np.flatnonzero(rng.random(len(slate)) < chances).tolist():
            self._remember(user, slate[at], now)
            clicked = now + self._click_delay.draw(rng)
            actions.append(_action(request, at + 1, user, slate[at], "click", clicked, None))
            if rng.random() < self._purchase_rate:
                bought, price = clicked + self._purchase_delay.draw(rng), round(float(rng.uniform(*_PRICES)), 2)
                actions.append(_action(request, at + 1, user, slate[at], "purchase", bought, price))
        return actions

    def _remember(self, user: int, item: Id, now: int) -> None:
        alive = {known for known in self._clicked.get(user, ()) if self._catalogue.alive(known, now)}
        self._clicked[user] = alive | {int(item)}

    def _probabilities(self, user: int, slate: Sequence[Id], now: int) -> Floats:
        shelf = self._catalogue.shelf(now)
        everything = self._all_probabilities(user, shelf, now)
        chances = np.zeros(len(slate))
        for place, item in enumerate(slate):
            slot = item % self.items if isinstance(item, int) else 0
            if item == shelf.ids[slot] and item not in slate[:place]:
                chances[place] = everything[slot]
        return chances

    def _all_probabilities(self, user: int, shelf: LivingItems, now: int) -> Floats:
        """Return float64[items]: the chance of a click on each item of the shelf, if looked at."""
        match = (shelf.vectors @ self._tastes.at(self._known(user), now).T).max(axis=1)
        age = (now - shelf.births) / self._item_life_ms
        model = self._model
        logits = model.base + model.match * match + shelf.qualities - model.ageing * age
        chances: Floats = 1.0 / (1.0 + np.exp(-logits))
        clicked = self._clicked.get(user)
        if clicked:
            chances[_slots_of(clicked, shelf, self.items)] = 0.0
        return chances

    def _announcement(self, item: int, at: int, born: bool, *, vectors: bool) -> ItemEvent:
        known = self._catalogue.item(item)
        return ItemEvent(
            item_id=item,
            timestamp=at,
            event_id=f"item-{item}-{'on' if born else 'off'}-{at}",
            features={self.topic_feature: self.topic_name(known.topic)},
            vector=known.vector.tolist() if vectors and born else UNSET,
            available=born,
        )

    def topic_name(self, topic: int) -> str:
        """Return the name of a topic, as item features have it."""
        return f"{self.topic_feature}-{topic}"

    def _known(self, user: int) -> int:
        if not 0 <= user < self.users:
            raise ValueError(f"user {user}: this world has users 0 to {self.users - 1}")
        return user


def _slots_of(items: set[int], shelf: LivingItems, size: int) -> NDArray[np.int64]:
    return np.array([item % size for item in items if shelf.ids[item % size] == item], dtype=np.int64)


def _action(request: Id, position: int, user: int, item: Id, kind: str, at: int, value: float | None) -> Action:
    return Action(
        event_id=f"{request}:{position}:{kind}",
        request_id=request,
        user_id=user,
        item_id=item,
        action=kind,
        value=value,
        timestamp=at,
    )
