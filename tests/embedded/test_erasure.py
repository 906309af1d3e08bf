"""A deleted user leaves no byte in the data folder once the next checkpoint is written; nothing else changes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.journal import recovery
from stream_reco.embedded.threads.service import EngineService
from stream_reco.events import Action, Id, key_of
from stream_reco.labels.settings import LabelSettings
from stream_reco.model.content.pairs import ACTIVITY, OWN, key_of_row, mixed
from stream_reco.model.rows import Lookup
from stream_reco.serve.settings import SlateSettings
from stream_reco.storage import checkpoint
from stream_reco.storage.checkpoint import CheckpointError, Part, Written
from stream_reco.train.settings import TrainSettings
from tests.embedded.traces import MARK, NUMBERS, marked_events, other_events, traces

NOW = 1_760_000_000_000
START = NOW - 3_600_000
SETTINGS = Settings(training=TrainSettings(batch=16), slate=SlateSettings(explore=0.0))
POLICIES = [
    LabelSettings(),
    LabelSettings(policy="early", order="slate"),
    LabelSettings(policy="early", order="group"),
    LabelSettings(policy="immediate"),
]


def opened(folder: Path | None, settings: Settings = SETTINGS) -> Engine:
    return Engine(folder, settings, clock=ManualClock(NOW))


def lived(engine: Engine, user: Id, *, numbers: bool) -> None:
    """Others, then the marked user, then others, with two checkpoints on the way."""
    engine.ingest(other_events(START))
    engine.ingest(marked_events(START + 30_000, user, numbers=numbers))
    engine.checkpoint()
    engine.ingest(other_events(START + 1, 40))  # all of them repeated
    engine.checkpoint()
    engine.sync()


def slates(engine: Engine) -> list[list[tuple[Id, float, str]]]:
    answers = [engine.recommend(user, 12, context={"device": "phone", "city": "c1"}) for user in [*range(20), "new"]]
    # Candidates take turns, also where they are level, and sums over batches in another order differ in the last bits.
    return [
        sorted(
            ((one.item_id, round(one.score, 6), one.source) for one in answer.items), key=lambda one: (-one[1], one[0])
        )
        for answer in answers
    ]


@pytest.mark.parametrize("labels", POLICIES, ids=lambda one: f"{one.policy}-{one.order}")
@pytest.mark.parametrize("user", [f"{MARK}-user", NUMBERS["user"]])
def test_no_byte_of_a_deleted_user_is_left(tmp_path: Path, user: Id, labels: LabelSettings) -> None:
    settings = replace(SETTINGS, labels=labels)
    with opened(tmp_path, settings) as engine:
        lived(engine, user, numbers=isinstance(user, int))
        assert len(traces(tmp_path, user)) > 10
        before = slates(engine)
        engine.forget(user)
        assert traces(tmp_path, user), "only a checkpoint takes it out"
        engine.checkpoint()
        assert traces(tmp_path, user) == []
        assert len(list(tmp_path.glob("checkpoints/checkpoint-*"))) == 2
        engine.sync()
        assert slates(engine) == before, "the others have what they had"
        engine.ingest(marked_events(START + 30_000, user, numbers=isinstance(user, int))[:1])
        assert engine.status()["users"] == 20, "a repeated event does not bring the user back"
    with opened(tmp_path, settings) as engine:
        assert slates(engine) == before
        assert traces(tmp_path, user) == []


def test_rows_of_a_deleted_user_leave_the_replica_and_the_table() -> None:
    with opened(None) as engine:
        lived(engine, "gone", numbers=False)
        table = engine.learner.queue.trainer.tables["user"]
        replica = engine.publishing.served.replica
        rows, served = len(table), len(replica.tables["user"])
        engine.forget("gone")
        engine.sync()
        assert (len(table), len(replica.tables["user"])) == (rows - 1, served - 1)
        table.check_invariants()


def test_what_a_deleted_user_makes_of_items_leaves_the_replica_and_the_table() -> None:
    """The content model has coefficients of each user over what is said of items: here a number of three values."""
    with opened(None) as engine:
        lived(engine, "gone", numbers=False)
        engine.sync()
        table, replica = engine.learner.queue.trainer.tables["content"], engine.publishing.served.replica
        wanted = {user: own_keys_of(engine, user) for user in ("gone", 3)}
        before = {user: rows_of(table, keys) for user, keys in wanted.items()}
        assert all(len(rows) > 1 for rows in before.values())
        assert all(len(rows_of(replica.tables["content"], keys)) > 1 for keys in wanted.values())
        engine.forget("gone")
        engine.sync()
        assert rows_of(table, wanted["gone"]) == rows_of(replica.tables["content"], wanted["gone"]) == {}
        assert rows_of(table, wanted[3]) == before[3]
        table.check_invariants()


def own_keys_of(engine: Engine, user: Id) -> list[int]:
    """Keys of the user's own coefficients of all that is said of any item, by way of the catalogue."""
    catalogue, key = engine.learner.state.signals.catalogue, key_of(user, "user")
    said = catalogue.content.read(np.arange(catalogue.size, dtype=np.int32), NOW)[1]
    values = {mixed(field, code) for field, code in zip(said.fields.tolist(), said.codes.tolist(), strict=True)}
    return [key_of_row(ACTIVITY, key, 0), *(key_of_row(OWN, key, value) for value in values)]


def rows_of(table: Lookup, keys: list[int]) -> dict[int, list[float]]:
    """Those that there are: one that was learned from is not zero."""
    rows = table.lookup(np.array(keys, dtype=np.int64))
    return {key: row.tolist() for key, row in zip(keys, rows, strict=True) if row.any()}


def test_an_erasure_that_was_cut_short_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = f"{MARK}-user"
    real, written = checkpoint.write_checkpoint, list[Written]()

    def once(folder: Path, position: int, parts: dict[str, Part]) -> Written:
        if written:
            raise CheckpointError("no space left on device: free some")
        written.append(real(folder, position, parts))
        return written[0]

    with opened(tmp_path) as engine:
        lived(engine, user, numbers=False)
        engine.forget(user)
        monkeypatch.setattr(recovery, "write_checkpoint", once)
        with pytest.raises(CheckpointError):
            engine.checkpoint()
        monkeypatch.setattr(recovery, "write_checkpoint", real)
    assert traces(tmp_path, user), "one old checkpoint is left, and the log"
    with opened(tmp_path) as engine:
        engine.checkpoint()
        assert traces(tmp_path, user) == []


def test_what_an_earlier_release_has_dropped_is_erased_too(tmp_path: Path) -> None:
    user = f"{MARK}-user"
    with opened(tmp_path) as engine:
        engine.ingest(marked_events(START, user, numbers=False))
        engine.checkpoint()
        engine.checkpoint()
    with closing(sqlite3.connect(tmp_path / "log" / "log.sqlite3", isolation_level=None)) as log:
        log.execute("PRAGMA secure_delete = OFF")
        log.execute("INSERT INTO records VALUES (100, 'x', ?, 0)", (MARK.encode() * 3000,))
        log.execute("DELETE FROM records WHERE position = 100")
        log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert any("log.sqlite3" in one for one in traces(tmp_path, user))
    (tmp_path / "checkpoints" / "damaged-checkpoint-0000000001").mkdir()
    (tmp_path / "checkpoints" / "damaged-checkpoint-0000000001" / "progress.bin").write_text(MARK)
    with opened(tmp_path) as engine:
        engine.forget(user)
        engine.checkpoint()
        assert traces(tmp_path, user) == []


# --- checkpoints come by time


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def test_checkpoints_come_by_time_where_anything_is_new(tmp_path: Path) -> None:
    user = f"{MARK}-user"
    # Under the default policy negatives that are presumed as time passes would be new.
    late = LabelSettings(policy="conclusive")
    often = replace(SETTINGS, labels=late, training=TrainSettings(batch=16, checkpoint_minutes=0.005))
    service = EngineService(lambda: opened(tmp_path, often), sync_seconds=0.1)
    service.start()
    service.opened.result(60)

    def written() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("checkpoints/checkpoint-*"))

    time.sleep(0.6)
    assert written() == [], "nothing is new yet"
    service.submit([*other_events(START), *marked_events(START, user, numbers=False)]).result(60)
    wait_for(lambda: len(written()) >= 1)
    # A machine that is busy may learn the events in several portions, with a checkpoint after each.
    time.sleep(2.0)
    before = written()
    time.sleep(0.6)
    assert written() == before, "and nothing since"
    service._running()[1].record("forget", b'"%s"' % user.encode()).result(60)
    wait_for(lambda: len(written()) == 2 and written()[0] > before[-1])
    wait_for(lambda: not service._running()[0].journaled._erasing)
    assert traces(tmp_path, user) == []
    service.close()


def test_by_time_alone_a_checkpoint_changes_nothing_that_is_learned() -> None:
    journal = opened(None, replace(SETTINGS, training=TrainSettings(batch=16, checkpoint_minutes=1e-9)))
    with journal as engine, opened(None) as calm:
        for one in (engine, calm):
            one.ingest(other_events(START))
            one.ingest([Action(user_id=1, item_id=2, action="click", timestamp=START + 50_000)])
            one.sync()
        assert slates(engine) == slates(calm)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_a_time_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(ValueError, match="checkpoint_minutes"):
        TrainSettings(checkpoint_minutes=minutes)
