"""A trainer's state made by hand, published to what a scorer serves from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id, key_of
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.request import UserContext
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.context import ContextValue
from stream_reco.signals.exposures import Exposures
from stream_reco.signals.history import Histories
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.sync import InProcessChannel, PublicationDraft, Publisher, drain_tables
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer

NOW = 1_600_000_000_000
MODEL = ModelSettings(
    settings=TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=2, context_dim=2, cross_rank=4, hidden=8)
)
NOTHING = np.empty(0, dtype=np.int32)
CERTAIN = SlateSettings(explore=0.0)
"""Nothing is left to chance, so that equal states give equal slates."""


class SmallShop:
    """Items, users and what they did; `sync` lets the scorer see it."""

    def __init__(self, slate: SlateSettings | None = None, retrieve: RetrieveSettings | None = None) -> None:
        self.signals = Signals(SignalSettings())
        self.histories = Histories(SignalSettings())
        self.exposures = Exposures(SignalSettings())
        self.trainer = Trainer(MODEL, TrainSettings())
        self.examples: int | None = 0
        """What publications say of it."""
        self.medoids: dict[Id, list[int]] = {}
        self.disliked: dict[Id, list[Id]] = {}
        self.channel = InProcessChannel()
        self.publisher = Publisher("two_tower_dcn", 3)
        self.served = ServingState(MODEL, SignalSettings())
        self.scorer = Scorer(self.served, self.moment, retrieve or RetrieveSettings(), slate or CERTAIN, 0)

    def act(self, user: Id, item: Id, now: int = NOW, context: Mapping[str, ContextValue] | None = None) -> None:
        slot = self.signals.admit(item)
        self.signals.learn_context(context)
        moment = self.moment(user, now)
        self.signals.act(slot, moment.recent, moment.times, self.signals.coder.encode(context, now), now)
        self.histories.add(user, slot, now)
        self.exposures.acted(user, slot)

    def show(self, user: Id, item: Id, now: int = NOW) -> None:
        slot = self.signals.admit(item)
        self.signals.show(slot, now)
        self.exposures.add(user, slot, now)

    def describe(self, item: Id, features: dict[str, Any], *, available: bool = True) -> None:
        self.signals.describe(item, Statement(NOW, features, available))

    def train(self, items: list[Id]) -> None:
        """Give items a row, and with it a vector."""
        self.trainer.tables["item"].train_rows(np.array([key_of(item, "item") for item in items]), NOW)

    def moment(self, user: Id, now: int) -> UserContext:
        assert now > 0
        row = self.histories.row_of(user)
        key = key_of(user, "user")
        shown = self.exposures.of(user)
        medoids = np.array(self.medoids.get(user, []), dtype=np.int64)
        disliked = self.slots(self.disliked.get(user, []))
        if row < 0:
            recent, times = np.full(RECENT, -1, np.int32), np.zeros(RECENT, np.int64)
            return UserContext(key, recent, times, NOTHING, medoids, shown, disliked)
        recent, times = self.histories.items[row].copy(), self.histories.times[row].copy()
        return UserContext(key, recent, times, self.histories.seen(row), medoids, shown, disliked)

    def sync(self) -> int:
        self.publisher.publish(self.channel, self._contents)
        self.served.replica.poll(self.channel)
        return self.served.replica.version

    def _contents(self, snapshot: bool) -> PublicationDraft:
        tables, restore = drain_tables(self.trainer.tables.values(), snapshot)
        signals, catalogue = self.signals.drain()
        if snapshot:
            signals, catalogue = self.signals.snapshot()
        return PublicationDraft(
            tables, weights_of(self.trainer.model.network), signals, catalogue, NOW, NOW, restore, self.examples
        )

    def slots(self, items: list[Id]) -> NDArray[np.int32]:
        return np.array([self.signals.catalogue.slot_of(item) for item in items], dtype=np.int32)
