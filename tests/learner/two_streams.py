"""A log as the distributed run has it: its events, and beside them the examples that a joiner makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from stream_reco.config import Settings
from stream_reco.events import Action, Event, Impression
from stream_reco.labels import Example, LabelJoiner
from stream_reco.learner.distributed_learner import DistributedLearner

START = 1_700_000_000_000


def learner_of(settings: Settings) -> DistributedLearner:
    return DistributedLearner(settings.labels, settings.signals, settings.model, settings.training)


def shown_and_clicked(count: int, seed: int = 3) -> list[Event]:
    """Impressions, some clicked soon after: a user of one of four tastes often clicks a quarter of the items."""
    rng = np.random.default_rng(seed)
    log: list[Event] = []
    for number in range(count):
        user, item, time = int(rng.integers(40)), int(rng.integers(24)), START + number * 200
        request = f"r{number}"
        log.append(Impression(user_id=user, item_id=item, timestamp=time, event_id=f"i{number}", request_id=request))
        if rng.random() < (0.7 if user % 4 == item % 4 else 0.05):
            log.append(
                Action(
                    user_id=user,
                    item_id=item,
                    action="click",
                    timestamp=time + 50,
                    event_id=f"c{number}",
                    request_id=request,
                )
            )
    return log


def clicked(count: int, seed: int = 3) -> list[Event]:
    """The clicks of such a log alone, as of a site that logs nothing else."""
    clicks = [one for one in shown_and_clicked(5 * count, seed) if isinstance(one, Action)]
    return [structs.replace(one, request_id=None) for one in clicks[:count]]


@dataclass
class Labelling:
    """What the topology of that name does, without its topics."""

    settings: Settings

    def __post_init__(self) -> None:
        self._joiner = LabelJoiner(**self.settings.labels.of_joiner())
        self._time = 0

    def take(self, event: Event, features: bytes | None = None) -> list[Example]:
        examples = self._joiner.process([event], [features])
        self._time = max(self._time, event.timestamp)
        return examples + self._joiner.advance(self._time - self._joiner.lateness_ms)

    def take_all(self, log: Iterable[Event]) -> list[Example]:
        """What it makes of a log, but for what only passes later."""
        return [example for event in log for example in self.take(event)]

    def finish(self) -> list[Example]:
        return self._joiner.advance(self._time + 3 * self._joiner.window_ms)


def feed(learner: DistributedLearner, inputs: Iterable[Event | Example]) -> None:
    for one in inputs:
        if isinstance(one, Example):
            learner.take_example(one)
        else:
            learner.take_event(one)


def woven(log: Sequence[Event], settings: Settings, lag: int) -> Iterator[Event | Example]:
    """Events, and each one's examples `lag` events later; before their event by so many where `lag` is negative."""
    labelling = Labelling(settings)
    made = [labelling.take(event) for event in log]
    made[-1] += labelling.finish()
    for at in range(min(0, lag), len(log) + max(0, lag)):
        if 0 <= at < len(log):
            yield log[at]
        if 0 <= at - lag < len(log):
            yield from made[at - lag]
