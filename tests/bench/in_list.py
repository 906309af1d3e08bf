"""How well predictions order the items of the lists that were shown: predict first, learn after.

Three predict the same lists: the decayed click rate of each item, an online logistic regression on the same counters,
and what the loop serves with default settings. `python -m tests.bench.in_list LISTS` measures simulated lists of all
kinds, with `KIND` behind it those of one; with the folder of the real logs open_bandit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.datasets import load
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id, Impression
from stream_reco.measure.binary import BinaryMetrics
from stream_reco.signals.settings import DAY_MS, HOUR_MS
from stream_reco.simulate import Delay, World
from stream_reco.simulate.world import ClickModel

Floats = NDArray[np.float64]
_SYNC_MS = 60_000
_HALF_LIVES_MS = (6 * HOUR_MS, 7 * DAY_MS)
_PRIOR_CLICKS, _PRIOR_SHOWN = 0.5, 10.0


class ListKind(NamedTuple):
    """What simulated lists are like."""

    length: int
    users: int
    items: int
    """Alive at any time."""
    item_days: float
    """How long an item lives, on average."""
    lists_per_second: float
    position_bias: float
    click_delay: Delay
    clicks: ClickModel
    only_clicked: bool
    """Whether the log has only lists that were clicked in."""


KINDS = {
    # A front page: many candidates in no order, little taste, articles that differ by how they appeal and how old they
    # are, a click or two in each list. The click rate orders it about as it does public logs of news sites.
    "front": ListKind(
        37, 4_000, 300, 1.5, 0.06, 0.0, Delay(4_000, 1.0, HOUR_MS),
        ClickModel(base=-3.6, match=2.5, quality=0.45, ageing=0.6, topic_skew=0.3), True,
    ),
    # Teasers below an article: few candidates, looked at by their position, clicked after a minute or more.
    "teaser": ListKind(
        10, 2_000, 150, 1.0, 0.03, 0.5, Delay(60_000, 1.5, HOUR_MS),
        ClickModel(base=-3.5, match=4.0, quality=0.6, ageing=1.0), False,
    ),
    # A feed: taste decides.
    "feed": ListKind(20, 1_000, 300, 2.0, 0.02, 0.5, Delay(4_000, 1.0, HOUR_MS), ClickModel(), False),
}  # fmt: skip


class ShownList(NamedTuple):
    """What a user was shown at one time (ms), and which of it they acted on, each with its event."""

    impressions: list[Impression]
    actions: list[Action]

    @property
    def time(self) -> int:
        return self.impressions[0].timestamp

    @property
    def items(self) -> list[Id]:
        return [one.item_id for one in self.impressions]

    @property
    def labels(self) -> NDArray[np.float32]:
        acted = {action.item_id for action in self.actions}
        return np.array([one.item_id in acted for one in self.impressions], dtype=np.float32)


class Predictor(Protocol):
    """Predicts a list, and learns of events in the order of their times."""

    def predict(self, shown: ShownList) -> Floats: ...

    def learn(self, events: Sequence[Event]) -> None: ...


class Counters:
    """Decayed impressions and actions of each item."""

    def __init__(self) -> None:
        self._counts: dict[Id, tuple[int, Floats]] = {}

    def of(self, item: Id, now: int) -> Floats:
        """float64[half-lives, 2]: shown and acted on."""
        time, counts = self._counts.get(item, (now, np.zeros((len(_HALF_LIVES_MS), 2))))
        fades = 2.0 ** (-(now - time) / np.array(_HALF_LIVES_MS))
        return counts * fades[:, None]

    def add(self, event: Event) -> None:
        if isinstance(event, (Impression, Action)):
            counts = self.of(event.item_id, event.timestamp)
            counts[:, int(isinstance(event, Action))] += 1
            self._counts[event.item_id] = event.timestamp, counts


class ClickRate:
    """Clicks over impressions, both decayed, with a prior."""

    def __init__(self) -> None:
        self._counters = Counters()

    def predict(self, shown: ShownList) -> Floats:
        counts = np.array([self._counters.of(item, shown.time)[0] for item in shown.items])
        rates: Floats = (counts[:, 1] + _PRIOR_CLICKS) / (counts[:, 0] + _PRIOR_SHOWN)
        return rates

    def learn(self, events: Sequence[Event]) -> None:
        for event in events:
            self._counters.add(event)


class CounterRegression:
    """Logistic regression by Adagrad on the logarithms of those counters; it learns a list once the next one comes."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._weights = np.zeros(1 + 3 * len(_HALF_LIVES_MS))
        self._weights[0] = -3.0
        self._squares = np.full(len(self._weights), 1.0)
        self._waiting: list[tuple[Floats, ShownList]] = []

    def predict(self, shown: ShownList) -> Floats:
        x = np.array([self._features(item, shown.time) for item in shown.items])
        self._waiting.append((x, shown))
        chances: Floats = 1.0 / (1.0 + np.exp(-(x @ self._weights)))
        return chances

    def learn(self, events: Sequence[Event]) -> None:
        for event in events:
            self._counters.add(event)
        for x, shown in self._waiting[:-1]:
            for row, label in zip(x, shown.labels, strict=True):
                chance = 1.0 / (1.0 + np.exp(-(row @ self._weights)))
                gradient = (chance - label) * row
                self._squares += gradient**2
                self._weights -= 0.1 * gradient / np.sqrt(self._squares)
        del self._waiting[:-1]

    def _features(self, item: Id, now: int) -> Floats:
        counts = self._counters.of(item, now)
        rate = np.log((counts[:, 1] + _PRIOR_CLICKS) / (counts[:, 0] + _PRIOR_SHOWN)) + 3.0
        return np.concatenate([[1.0], np.log1p(counts[:, 0]), np.log1p(counts[:, 1]), rate])


class Loop:
    """The engine, by default with default settings."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.engine = Engine(None, settings)
        self._synced = 0

    def predict(self, shown: ShownList) -> Floats:
        first = shown.impressions[0]
        scores = self.engine.score(first.user_id, shown.items, now=shown.time, context=first.context)
        return scores.astype(np.float64)

    def learn(self, events: Sequence[Event]) -> None:
        self.engine.ingest(events)
        now = max((event.timestamp for event in events), default=0)
        if now - self._synced >= _SYNC_MS:
            self._synced = now
            self.engine.sync()


class Figures(NamedTuple):
    """Of the second half of the lists, where nothing else is said."""

    in_list: float
    """Mean AUC of the lists with and without actions among their items."""
    early: float
    """The same, of the first fifth of the lists."""
    whole: float
    """The same, of all lists."""
    lists: int
    auc: float
    """Over all items of all lists."""
    calibration: float


def evaluate(lists: Sequence[ShownList], predictors: dict[str, Predictor]) -> dict[str, Figures]:
    """Predict each list, then learn of it and of the actions that have come since."""
    inside: dict[str, list[float]] = {name: [] for name in predictors}
    places: list[int] = []
    overall = {name: BinaryMetrics() for name in predictors}
    waiting: list[Action] = []
    for number, shown in enumerate(lists):
        due = sorted((one for one in waiting if one.timestamp <= shown.time), key=lambda one: one.timestamp)
        waiting = [one for one in waiting if one.timestamp > shown.time] + shown.actions
        labels = shown.labels
        differs = 0 < labels.sum() < len(labels)
        if differs:
            places.append(number)
        for name, predictor in predictors.items():
            predictor.learn(due)
            predicted = predictor.predict(shown)
            predictor.learn(shown.impressions)
            if 2 * number >= len(lists):
                overall[name].add(predicted, labels)
            if differs:
                inside[name].append(auc_of(predicted, labels))
    late, early = (np.searchsorted(places, len(lists) * share) for share in (0.5, 0.2))
    return {
        name: Figures(
            float(np.mean(values[late:])),
            float(np.mean(values[:early])),
            float(np.mean(values)),
            len(values) - int(late),
            overall[name].auc or 0.5,
            overall[name].calibration or float("nan"),
        )
        for name, values in inside.items()
    }


def auc_of(predicted: Floats, labels: NDArray[np.float32]) -> float:
    """Chance that an item acted on is predicted above one that was not; ties count half."""
    metrics = BinaryMetrics()
    metrics.add(predicted, labels)
    assert metrics.auc is not None
    return metrics.auc


def simulated(lists: int, kind: ListKind, seed: int = 0) -> Iterator[ShownList]:
    """Random lists of a world where items live for days; a quarter of an hour's worth of requests at a time."""
    world = World(
        seed,
        users=kind.users,
        items=kind.items,
        item_life_ms=round(kind.item_days * DAY_MS),
        requests_per_second=kind.lists_per_second,
        position_bias=kind.position_bias,
        click_delay=kind.click_delay,
        clicks=kind.clicks,
    )
    now, made = world.start_ms, 0
    while made < lists:
        now += HOUR_MS // 4
        for visit in world.step(now):
            slate = world.random_slate(visit.user_id, kind.length, visit.timestamp)
            events = world.respond(visit.user_id, slate, visit.timestamp)
            impressions = [one for one in events if isinstance(one, Impression)]
            clicks = [one for one in events if isinstance(one, Action) and one.action == "click"]
            if kind.only_clicked and not clicks:
                continue
            yield ShownList(impressions, clicks)
            made += 1
            if made == lists:
                return


def open_bandit(folder: Path, limit: int) -> Iterator[ShownList]:
    """Impressions of the real log, each a list of its own: the log does not say which were shown together."""
    clicks: dict[Id | None, Action] = {}
    impressions: list[Impression] = []
    for event in load(folder / "open_bandit", "openbandit"):
        if isinstance(event, Action):
            clicks[event.request_id] = event
        elif isinstance(event, Impression):
            impressions.append(event)
    for one in impressions[:limit]:
        click = clicks.get(one.request_id)
        yield ShownList([one], [] if click is None else [click])


def _report(title: str, lists: Sequence[ShownList]) -> None:
    predictors: dict[str, Predictor] = {"click rate": ClickRate(), "regression": CounterRegression(), "loop": Loop()}
    for name, figures in evaluate(lists, predictors).items():
        sys.stdout.write(f"{title}, {name}: {figures}\n")


if __name__ == "__main__":
    wanted, log = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    if log and log not in KINDS:
        _report("open_bandit", list(open_bandit(Path(log), wanted)))
    for title, kind in KINDS.items():
        if log in ("", title):
            _report(title, list(simulated(wanted, kind)))
