"""Backups of a folder that is being written, brought back bit for bit; and exports of what it knows."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream_reco.cli.app import app
from stream_reco.embedded.export import events_of, items_of, learner_of, users_of
from stream_reco.events import Action, Impression, ItemEvent, UserEvent, decode
from stream_reco.events.schema import Context
from stream_reco.storage import backup as backups
from stream_reco.storage.backup import Backup, BackupError, back_up, restore
from stream_reco.storage.event_log import LogCorruptError
from tests.embedded.journal.recovery_world import NOW, SETTINGS, Step, differences, do, opened, steps, whole_state

RARELY = replace(SETTINGS, training=replace(SETTINGS.training, checkpoint_events=10**9))
"""No checkpoint, so that the log keeps everything."""


@pytest.fixture(scope="module")
def few() -> list[Step]:
    return steps(7, 100)[60:76]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not differences(one, other)


@pytest.mark.parametrize("checkpoints", [(), (5,), (3, 6, 11)])
def test_what_comes_back_is_bit_for_bit_what_ran_and_goes_on_as_it(
    tmp_path: Path, few: list[Step], checkpoints: tuple[int, ...]
) -> None:
    with opened(tmp_path / "data") as engine:
        for number, step in enumerate(few, 1):
            do(engine, step)
            if number in checkpoints:
                engine.checkpoint()
        # The engine has the folder: this is a backup of a running server.
        taken = back_up(tmp_path / "data", tmp_path / "out", NOW)
        expected = whole_state(engine)
        assert taken.position == engine.journaled.position
        do(engine, few[0])
    found = restore(tmp_path / "out", tmp_path / "again")
    assert found == taken
    with opened(tmp_path / "again") as restored:
        assert_same(whole_state(restored), expected)
        do(restored, few[0])
    # The folder itself was not touched by all this.
    with opened(tmp_path / "data") as engine, opened(tmp_path / "again") as restored:
        assert_same(whole_state(engine), whole_state(restored))


def test_backups_of_a_busy_server_are_each_a_state_that_it_went_through(tmp_path: Path, few: list[Step]) -> None:
    states: dict[int, dict[str, Any]] = {}
    done = threading.Event()
    taken: list[Backup] = []

    def back_up_again_and_again() -> None:
        while not done.is_set() or not taken:
            taken.append(back_up(tmp_path / "data", tmp_path / f"out{len(taken)}", NOW))

    with opened(tmp_path / "data") as engine:
        states[engine.journaled.position] = whole_state(engine)
        thread = threading.Thread(target=back_up_again_and_again)
        thread.start()
        for step in few:
            do(engine, step)
            states[engine.journaled.position] = whole_state(engine)
            engine.checkpoint()
        done.set()
        thread.join(60)
    assert len(taken) > 1
    for number in {0, len(taken) // 2, len(taken) - 1}:
        restore(tmp_path / f"out{number}", tmp_path / f"again{number}")
        with opened(tmp_path / f"again{number}") as restored:
            # A step is one record, or none; the start of an engine is one as well.
            assert_same(whole_state(restored), states[taken[number].position])


def test_a_backup_that_moved_away_under_the_copy_is_begun_again(
    tmp_path: Path, few: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = backups._copy_log
    with opened(tmp_path / "data") as engine:
        do(engine, few[0])
        engine.checkpoint()
        waiting = [few[1], few[2], few[3]]

        def copy_late(source: Path, folder: Path) -> None:
            # Three checkpoints between the copy of one and the copy of the log behind it.
            while waiting:
                do(engine, waiting.pop(0))
                engine.checkpoint()
            copy(source, folder)

        monkeypatch.setattr(backups, "_copy_log", copy_late)
        taken = back_up(tmp_path / "data", tmp_path / "out", NOW)
        assert taken.checkpoint == taken.position == engine.journaled.position


def test_a_checkpoint_that_is_deleted_under_the_copy_is_passed_over(
    tmp_path: Path, few: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree
    gone: list[Path] = []

    def copy_what_vanishes(source: Path, target: Path, *more: Any) -> None:
        if not gone:
            gone.append(source.rename(tmp_path / "gone"))
            # What copytree raises where files vanish while it copies: no FileNotFoundError.
            raise shutil.Error([(str(source), str(target), "No such file or directory")])
        copy(source, target, *more)

    with opened(tmp_path / "data") as engine:
        for step in few[:3]:
            do(engine, step)
            engine.checkpoint()
        expected = whole_state(engine)
        monkeypatch.setattr(shutil, "copytree", copy_what_vanishes)
        taken = back_up(tmp_path / "data", tmp_path / "out", NOW)
        monkeypatch.undo()
    assert len(gone) == 1
    assert taken.checkpoint < taken.position
    restore(tmp_path / "out", tmp_path / "again")
    with opened(tmp_path / "again") as restored:
        assert_same(whole_state(restored), expected)


def test_a_backup_that_is_damaged_incomplete_or_in_the_way_is_refused_with_what_to_do(
    tmp_path: Path, few: list[Step]
) -> None:
    with opened(tmp_path / "data") as engine:
        do(engine, few[0])
        engine.checkpoint()
        do(engine, few[1])
    back_up(tmp_path / "data", tmp_path / "out", NOW)
    with pytest.raises(BackupError, match="exists already: name a new folder"):
        back_up(tmp_path / "data", tmp_path / "out", NOW)
    with pytest.raises(BackupError, match="exists already: name a new folder"):
        restore(tmp_path / "out", tmp_path / "data")
    with pytest.raises(BackupError, match="is no data folder"):
        back_up(tmp_path / "nothing", tmp_path / "other", NOW)
    with pytest.raises(BackupError, match="no whole backup"):
        restore(tmp_path / "data", tmp_path / "other")
    (part,) = (tmp_path / "out" / "checkpoints").glob("*/interests.safetensors")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Exception, match=r"interests\.safetensors.*checksum"):
        restore(tmp_path / "out", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    part.write_bytes(whole)
    (tmp_path / "out" / "log" / "log.sqlite3").write_bytes(b"")
    with pytest.raises(LogCorruptError):
        restore(tmp_path / "out", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_damaged_folder_gives_a_backup_of_its_older_checkpoint_or_none(tmp_path: Path, few: list[Step]) -> None:
    with opened(tmp_path / "data") as engine:
        for step in few[:4]:
            do(engine, step)
            engine.checkpoint()
        expected = whole_state(engine)
    newest, older = sorted((tmp_path / "data" / "checkpoints").glob("checkpoint-*"), reverse=True)
    (newest / "manifest.json").write_bytes(b"{}")
    taken = back_up(tmp_path / "data", tmp_path / "out", NOW)
    assert taken.checkpoint < taken.position
    restore(tmp_path / "out", tmp_path / "again")
    with opened(tmp_path / "again") as restored:
        assert_same(whole_state(restored), expected)
    (older / "manifest.json").write_bytes(b"{}")
    with pytest.raises(BackupError, match=r"no checkpoint in .* is whole"):
        back_up(tmp_path / "data", tmp_path / "out2", NOW)
    assert not (tmp_path / "out2").exists()


def test_exported_events_make_the_same_state_again(tmp_path: Path, few: list[Step]) -> None:
    batches = [step for step in few if isinstance(step, list)]
    with opened(tmp_path / "data", RARELY) as engine, opened(None) as other:
        for batch in batches:
            engine.ingest(batch)
        exported = [decode(line) for line in events_of(tmp_path / "data")]
        assert exported == [event for batch in batches for event in batch]
        other.ingest(exported)
        assert_same(whole_state(other), whole_state(engine))
        user = next(event.user_id for event in exported if isinstance(event, Action))
        mine = [decode(line) for line in events_of(tmp_path / "data", user)]
        assert mine == [event for event in exported if getattr(event, "user_id", None) == user]


def test_exported_users_and_items_are_what_the_engine_knows(tmp_path: Path) -> None:
    times = [NOW - 60_000 + place * 1000 for place in range(8)]
    context: Context = {"device": "phone"}
    with opened(tmp_path / "data") as engine:
        engine.ingest([ItemEvent(item_id=i, timestamp=times[0], features={"kind": i}) for i in range(3)])
        for time in times[1:]:
            engine.ingest([Action(user_id="ann", item_id=time % 3, action="buy", value=5.0, timestamp=time)])
        engine.ingest([Impression(user_id="ann", item_id=2, timestamp=times[-1], request_id="r", context=context)])
        engine.ingest([UserEvent(user_id="ann", timestamp=times[0], features={"age": 30, "likes": ["tea"]})])
        engine.ingest([UserEvent(user_id="cid", timestamp=times[1], features={"age": 50})])
        engine.checkpoint()
        engine.ingest([UserEvent(user_id="ann", timestamp=times[2], features={"age": None, "city": "Ulm"})])
        engine.ingest([Action(user_id="bob", item_id=1, action="buy", value=5.0, timestamp=times[-1])])
        engine.tick(NOW)
        engine.sync()
        interests = {one.item_id: one.importance for one in engine.interests("ann")}
        with learner_of(tmp_path / "data", SETTINGS) as learner:
            users = {user["user_id"]: user for user in map(json.loads, users_of(learner))}
            (ann,) = map(json.loads, users_of(learner, "ann"))
            (nobody,) = map(json.loads, users_of(learner, "nobody"))
            items = [decode(line) for line in items_of(learner)]
    assert set(users) == {"ann", "bob", "cid"}
    assert users["ann"] == ann
    assert [tuple(stated.values()) for stated in ann["profile"]] == [
        ("age", None, times[2]),
        ("likes", ["tea"], times[0]),
        ("city", "Ulm", times[2]),
    ]
    assert users["cid"]["profile"] == [{"feature": "age", "value": 50, "timestamp": times[1]}]
    assert [(one["item_id"], one["timestamp"]) for one in ann["history"]] == [(t % 3, t) for t in times[:0:-1]]
    assert {one["item_id"]: one["importance"] for one in ann["interests"]} == pytest.approx(interests)
    assert [(one["item_id"], one["label"], one["context"]) for one in ann["impressions"]] == [(2, None, context)]
    assert len(ann["row"]) == 4
    assert nobody == {
        "user_id": "nobody",
        "history": [],
        "disliked": [],
        "interests": [],
        "passed_over": [],
        "acted_on": [],
        "impressions": [],
        "row": [],
        "profile": [],
    }
    assert items == [ItemEvent(item_id=i, timestamp=times[0], features={"kind": i}, available=True) for i in range(3)]


def test_the_commands_end_with_a_sentence(tmp_path: Path, few: list[Step], capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path / "data") as engine:
        do(engine, few[0])
        engine.checkpoint()
    data, out = str(tmp_path / "data"), str(tmp_path / "out")
    for arguments in (["backup", data, out], ["restore", out, str(tmp_path / "again")]):
        app(arguments, standalone_mode=False)
    said = capsys.readouterr().out
    assert f"Backed up {data} to {out}: a checkpoint at log position" in said
    assert "Start it with stream-reco serve --data" in said
    app(["export", "events", data, "--out", str(tmp_path / "events.jsonl")], standalone_mode=False)
    assert [decode(line) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()] == []
