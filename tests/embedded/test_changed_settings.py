"""A data folder that is opened with other settings than it was created with."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedding import PRECISIONS
from stream_reco.events import Action
from stream_reco.labels.settings import LabelSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import GlmixSettings
from stream_reco.serve.settings import ServeSettings
from stream_reco.train.settings import TrainSettings

NOW = 1_700_000_000_000
BEFORE = Settings()


def begun(folder: Path, settings: Settings = BEFORE) -> None:
    with Engine(folder, settings, clock=ManualClock(NOW)) as engine:
        engine.ingest([Action(user_id=1, item_id="a", action="view", timestamp=NOW)])
        engine.checkpoint()


def test_what_cannot_change_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(tmp_path)
    other = replace(
        BEFORE,
        labels=replace(BEFORE.labels, window_days=3.0, policy="immediate", order="none", wait_seconds=9.0),
        training=TrainSettings(row_learning_rate=0.01, row_idle_days=7.0, table_megabytes=9.0, user_sightings=2),
    )
    with caplog.at_level(logging.WARNING), Engine(tmp_path, other, clock=ManualClock(NOW)):
        messages = [record.getMessage() for record in caplog.records]
    assert [message.split()[0] for message in messages] == [
        "labels.window_days",
        "labels.policy",
        "labels.order",
        "labels.wait_seconds",
        "training.row_learning_rate",
        "training.row_idle_days",
        "training.table_megabytes",
        "training.user_sightings",
    ]
    assert "set to 3.0" in messages[0]
    assert "created with 14.0" in messages[0]


def test_equal_settings_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(tmp_path)
    with caplog.at_level(logging.WARNING), Engine(tmp_path, BEFORE, clock=ManualClock(NOW)):
        assert not caplog.records


def test_the_learning_rate_of_a_model_cannot_change_and_that_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, fast = (
        replace(BEFORE, model=ModelSettings("glmix", GlmixSettings(learning_rate=rate))) for rate in (0.05, 0.5)
    )
    begun(tmp_path, slow)
    with caplog.at_level(logging.WARNING):
        with Engine(tmp_path, slow, clock=ManualClock(NOW)):
            assert not caplog.records
        with Engine(tmp_path, fast, clock=ManualClock(NOW)):
            messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    for message, table in zip(messages, ("everybody", "user", "item"), strict=True):
        assert "lr=0.5, " in message
        assert f"the table {table!r}, but it was created with Adagrad(lr=0.05, " in message


def test_weights_of_actions_change_with_the_settings(tmp_path: Path) -> None:
    begun(tmp_path)
    other = replace(BEFORE, labels=LabelSettings(action_weights={"view": 0.0}, lateness_seconds=5.0))
    with Engine(tmp_path, other, clock=ManualClock(NOW)) as engine:
        before = engine.status()["examples"]
        engine.ingest([Action(user_id=2, item_id="a", action="view", timestamp=NOW + 1)])
        assert engine.status()["examples"] == before == 1
        assert engine.learner.joiner.lateness_ms == 5_000


def test_the_precision_of_served_rows_may_change_and_nothing_that_is_learned_with_it(tmp_path: Path) -> None:
    with Engine(tmp_path, BEFORE, clock=ManualClock(NOW)) as engine:
        engine.ingest([Action(user_id=n % 5, item_id=n % 7, action="click", timestamp=NOW + n) for n in range(60)])
        engine.checkpoint()
    found = {}
    for precision in PRECISIONS:
        other = replace(BEFORE, serve=ServeSettings(row_precision=precision))
        with Engine(tmp_path, other, clock=ManualClock(NOW)) as engine:
            engine.sync()
            served = engine.publishing.served.replica.tables["item"]
            assert served.precision == precision
            learned = engine.learner.queue.trainer.tables["item"].snapshot()
            assert len(learned) > 1
            found[precision] = (learned.vectors.tobytes(), served.lookup(learned.keys).tobytes())
    assert len({learned for learned, _ in found.values()}) == 1
    assert len({read for _, read in found.values()}) == len(PRECISIONS)
    assert found["float32"][0] == found["float32"][1]
