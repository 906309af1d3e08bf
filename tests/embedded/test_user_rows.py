"""Which users have a row of their own, over a restart too, and what becomes of gradients that are no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action
from stream_reco.metrics import REGISTRY
from stream_reco.train.settings import TrainSettings

NOW = 1_700_000_000_000


def views(first: int, many: int) -> list[Action]:
    """One in four is of a user who comes again and again."""
    rng = np.random.default_rng(first)
    return [
        Action(
            user_id=int(rng.integers(3)) if at % 4 == 0 else 1000 + at,
            item_id=f"i{rng.integers(8)}",
            action="view",
            timestamp=NOW + 1000 * at,
        )
        for at in range(first, first + many)
    ]


def test_users_who_come_seldom_have_no_row_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    settings = Settings(training=TrainSettings(batch=16, user_sightings=3))
    with Engine(tmp_path / "one", settings, clock=ManualClock(NOW)) as engine:
        engine.ingest(views(0, 100))
        engine.ingest(views(100, 100))
        undisturbed = engine.learner.queue.trainer.tables["user"]
        assert len(undisturbed) == 3
        assert len(engine.learner.queue.trainer.tables["item"]) == 8
    with Engine(tmp_path / "two", settings, clock=ManualClock(NOW)) as engine:
        engine.ingest(views(0, 100))
        engine.checkpoint()
    with Engine(tmp_path / "two", settings, clock=ManualClock(NOW)) as engine:
        engine.ingest(views(100, 100))
        engine.sync()
        slate = engine.recommend(1003, 5, now=NOW + 300_000)
        assert len(slate.items) == 5
        engine.learner.queue.trainer.tables["user"].drain_touched()
        undisturbed.drain_touched()
        restarted = engine.learner.queue.trainer.tables["user"]
        for table, name in ((undisturbed, "undisturbed"), (restarted, "restarted")):
            table.save(tmp_path / name)
    assert (tmp_path / "undisturbed").read_bytes() == (tmp_path / "restarted").read_bytes()


def refused() -> float:
    return REGISTRY.get_sample_value("stream_reco_table_refused_gradients_total", {"table": "user"}) or 0.0


def test_refused_gradients_are_counted_for_those_who_watch() -> None:
    with Engine() as engine:
        engine.ingest(views(0, 200))
        users = engine.learner.queue.trainer.tables["user"]
        keys = users.keys()
        before = users.lookup(keys)
        engine.sync()
        told = refused()
        users.apply_gradients(keys, np.full((len(keys), users.dim), np.nan, np.float32))
        engine.sync()
        assert refused() == told + len(keys) > 0
        np.testing.assert_array_equal(users.lookup(keys), before)
