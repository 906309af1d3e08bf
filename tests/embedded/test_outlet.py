"""An engine whose publications go to scorers of other processes too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync import ChannelRefused, FolderChannel, InProcessChannel, Publication

START = 1_700_000_000_000


def clicks(first: int, last: int) -> list[Event]:
    return [
        Action(user_id=n % 5, item_id=n * n % 17, action="click", timestamp=START + 1000 * n)
        for n in range(first, last)
    ]


class Refusing(InProcessChannel):
    """Has no room while `full`."""

    def __init__(self) -> None:
        super().__init__(capacity=100)
        self.full = False

    def send(self, publication: Publication) -> None:
        if self.full:
            raise ChannelRefused("no room")
        super().send(publication)


def test_what_goes_out_is_what_is_served_here(tmp_path: Path) -> None:
    settings = Settings()
    outlet = FolderChannel.cleared(tmp_path)
    other = ServingState(settings.model, settings.signals, settings.serve.row_precision)
    with Engine(None, settings, outlet=outlet) as engine:
        for first in range(0, 90, 30):
            engine.ingest(clicks(first, first + 30))
            engine.sync()
            other.replica.poll(FolderChannel(tmp_path))
        own = engine.publishing.served
        assert other.replica.version == own.replica.version == 3
        for name, table in own.replica.tables.items():
            keys = np.array(sorted(table.keys().tolist()), dtype=np.int64)
            assert sorted(other.replica.tables[name].keys().tolist()) == keys.tolist()
            assert np.array_equal(table.lookup(keys), other.replica.tables[name].lookup(keys))


def test_a_channel_without_room_stops_neither_learning_nor_answers(caplog: pytest.LogCaptureFixture) -> None:
    outlet = Refusing()
    with Engine(None, Settings(), outlet=outlet) as engine:
        engine.ingest(clicks(0, 30))
        version = engine.sync()
        outlet.full = True
        for first in range(30, 90, 30):
            engine.ingest(clicks(first, first + 30))
            assert engine.sync() == version, "what is measured here is what others serve"
        assert len(caplog.records) == 1, "once, not at each attempt"
        assert engine.recommend("stranger", 5).items
        outlet.full = False
        assert engine.sync() > version
        rows = engine.publishing.served.replica.tables["item"]
        assert len(rows) == len(engine.learner.queue.trainer.tables["item"])


def test_a_snapshot_that_others_ask_for_is_published() -> None:
    outlet = InProcessChannel(capacity=100)
    with Engine(None, Settings(), outlet=outlet) as engine:
        engine.ingest(clicks(0, 30))
        engine.sync()
        engine.sync()
        outlet.ask_for_snapshot()
        engine.sync()
        kinds = [one.publication.snapshot for one in outlet.read("", 9) if isinstance(one.publication, Publication)]
        assert kinds == [True], "a snapshot frees all before it"
        assert engine.publishing.served.replica.version == 3
