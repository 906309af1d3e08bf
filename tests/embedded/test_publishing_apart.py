"""An engine that learns for scorers of other processes and answers nothing itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.learning_engine import LearningEngine
from stream_reco.embedded.publishing_apart import PublishingApart
from stream_reco.events import Action, Event, ItemEvent
from stream_reco.learner.measured_publications import QUALITY_EVERY
from stream_reco.metrics import PROGRESSIVE, REGISTRY
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.sync import Channel, ChannelRefused, FolderChannel, InProcessChannel, Publication

START = 1_700_000_000_000
SETTINGS = Settings()


def clicks(first: int, last: int) -> list[Event]:
    return [
        Action(user_id=n % 5, item_id=n * 7 % 101, action="click", timestamp=START + 1000 * n)
        for n in range(first, last)
    ]


def learning(channel: Channel, folder: Path | None = None) -> LearningEngine:
    return LearningEngine(
        folder,
        SETTINGS,
        lambda journaled: PublishingApart(journaled.learner, SETTINGS, journaled.epoch, channel),
    )


def scorer() -> ServingState:
    return ServingState(SETTINGS.model, SETTINGS.signals, SETTINGS.serve.row_precision)


class Refusing(InProcessChannel):
    """Has no room while `full`."""

    def __init__(self) -> None:
        super().__init__(capacity=100)
        self.full = False

    def send(self, publication: Publication) -> None:
        if self.full:
            raise ChannelRefused("no room")
        super().send(publication)


def test_scorers_elsewhere_serve_what_one_process_would(tmp_path: Path) -> None:
    described = [
        ItemEvent(item_id=n, timestamp=START + n, features={"kind": f"kind {n % 3}", "text": f"a text of item {n}"})
        for n in range(101)
    ]
    other = scorer()
    with learning(FolderChannel.cleared(tmp_path)) as engine, Engine(None, SETTINGS) as whole:
        for one in (engine, whole):
            one.ingest(described)
        for first in range(0, 90, 30):
            for one in (engine, whole):
                one.ingest(clicks(first, first + 30))
                one.sync()
            other.replica.poll(FolderChannel(tmp_path))
        own = whole.publishing.served
        assert other.replica.version == own.replica.version == engine.status()["version"] == 3
        assert own.replica.tables.keys() == other.replica.tables.keys()
        for name, table in own.replica.tables.items():
            keys = np.array(sorted(table.keys().tolist()), dtype=np.int64)
            assert sorted(other.replica.tables[name].keys().tolist()) == keys.tolist()
            assert np.array_equal(table.lookup(keys), other.replica.tables[name].lookup(keys))
        slots = np.arange(101, dtype=np.int32)
        for mine, theirs in zip(
            own.signals.catalogue.content.lasting(slots).values,
            other.signals.catalogue.content.lasting(slots).values,
            strict=True,
        ):
            assert np.array_equal(np.asarray(mine), np.asarray(theirs))


def test_a_channel_without_room_does_not_stop_learning(caplog: pytest.LogCaptureFixture) -> None:
    channel, other = Refusing(), scorer()
    with learning(channel) as engine:
        engine.ingest(clicks(0, 30))
        version = engine.sync()
        channel.full = True
        for first in range(30, 90, 30):
            engine.ingest(clicks(first, first + 30))
            assert engine.sync() == version
        assert len(caplog.records) == 1, "once, not at each attempt"
        channel.full = False
        assert engine.sync() > version
        other.replica.poll(channel)
        rows = other.replica.tables["item"]
        assert len(rows) == len(engine.learner.queue.trainer.tables["item"])


def test_a_snapshot_that_others_ask_for_is_published() -> None:
    channel = InProcessChannel(capacity=100)
    with learning(channel) as engine:
        engine.ingest(clicks(0, 30))
        engine.sync()
        engine.sync()
        channel.ask_for_snapshot()
        engine.sync()
        kinds = [one.publication.snapshot for one in channel.read("", 9) if isinstance(one.publication, Publication)]
        assert kinds == [True], "readers begin with the newest snapshot"
        assert engine.status()["version"] == 3


def test_what_was_published_is_measured_on_what_is_learned_next() -> None:
    PROGRESSIVE.clear()
    with learning(InProcessChannel(capacity=1)) as engine:
        engine.ingest(clicks(0, 30))
        engine.sync()
        # Each click comes with several negatives.
        for first in range(30, 30 + QUALITY_EVERY, 100):
            engine.ingest(clicks(first, first + 100))
            engine.sync()
    logloss = REGISTRY.get_sample_value("stream_reco_progressive_quality", {"metric": "logloss"})
    assert logloss is not None
    assert 0.0 < logloss < 1.0


def test_an_engine_that_was_closed_goes_on_from_its_folder(tmp_path: Path) -> None:
    channel, other = InProcessChannel(capacity=9), scorer()
    with learning(channel, tmp_path) as engine:
        engine.ingest(clicks(0, 60))
        engine.checkpoint()
        before = {name: len(table) for name, table in engine.learner.queue.trainer.tables.items()}
    with learning(channel, tmp_path) as again:
        assert again.status()["version"] == 1, "what was recovered is published at once"
        other.replica.poll(channel)
        for name, rows in before.items():
            assert len(other.replica.tables[name]) == rows
