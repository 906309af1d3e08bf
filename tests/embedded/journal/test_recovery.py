"""What a restart finds again: everything that was acknowledged, bit for bit, or a clear word about what is damaged."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_reco.model.settings import ModelSettings
from stream_reco.storage import checkpoint
from stream_reco.storage.checkpoint import CheckpointError, CheckpointVersionError
from stream_reco.storage.event_log import LogBusyError, LogCorruptError, LogLossError
from tests.embedded.journal.recovery_world import SETTINGS, Step, differences, do, opened, steps, whole_state

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OnSmallDisk = Callable[[Path, int], str]
State = dict[str, Any]
RARELY = replace(SETTINGS, training=replace(SETTINGS.training, checkpoint_events=10**9))
"""No checkpoint but those that are asked for."""


@pytest.fixture(scope="module")
def few() -> list[Step]:
    return steps(7, 100)[60:76]


@pytest.fixture(scope="module")
def states(few: list[Step]) -> list[State]:
    """The state after each number of steps, from none on, of an engine without a folder."""
    with opened(None) as engine:
        found = [whole_state(engine)]
        for step in few:
            do(engine, step)
            found.append(whole_state(engine))
    return found


def ingested(folder: Path, few: list[Step], checkpoints: tuple[int, ...] = ()) -> None:
    """Do all steps, with checkpoints after some numbers of them."""
    with opened(folder, RARELY) as engine:
        for number, step in enumerate(few, 1):
            do(engine, step)
            if number in checkpoints:
                engine.checkpoint()


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("checkpoint-*"))


# --- killed


def test_engines_killed_at_any_moment_end_as_if_undisturbed(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    told = ""
    for seed in ("1", "2"):
        script = [sys.executable, str(HERE / "engine_until_killed.py"), str(tmp_path / seed), "9", seed]
        done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=140, check=False)
        assert done.returncode == 0, done.stderr
        told += done.stdout
    assert told.count("9 rounds, ") == 2
    for kind in ("open", "step", "checkpoint"):
        assert f"'{kind}'" in told, f"never interrupted: {kind}"


def test_what_was_durable_and_not_acknowledged_is_a_duplicate(
    tmp_path: Path, few: list[Step], states: list[State]
) -> None:
    ingested(tmp_path, few, (5,))
    with opened(tmp_path, RARELY) as engine:
        for step in few:
            if isinstance(step, list):
                answer = engine.ingest(step)
                assert (answer.accepted, answer.duplicates, answer.rejected) == (0, len(step), [])
        assert differences(whole_state(engine), states[-1]) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_tail_of_the_log_is_refused_until_the_loss_of_whole_batches_is_accepted(
    tmp_path: Path, few: list[Step], states: list[State], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    lost = (1, 60, 9_000, 40_000)[seed]
    with opened(tmp_path / "first", RARELY) as engine:
        for step in few:
            do(engine, step)
        acknowledged, epoch = engine.journaled.position, engine.journaled.epoch
        # As a power cut would leave it: without a closing.
        shutil.copytree(tmp_path / "first", tmp_path / "torn")
    wal = tmp_path / "torn" / "log" / "log.sqlite3-wal"
    assert wal.stat().st_size > 100_000
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - lost)
        file.seek(0, os.SEEK_END)
        file.write(b"\xff" * (lost // 2))
    before = wal.read_bytes()
    for _ in range(2):
        with pytest.raises(LogLossError, match=rf"has lost \d+ acknowledged records?: .* record {acknowledged} was"):
            opened(tmp_path / "torn", RARELY)
    assert wal.read_bytes() == before, "a refused start changes nothing"
    with opened(tmp_path / "torn", RARELY, accept_loss=True) as engine:
        assert "The loss was accepted" in caplog.text
        assert engine.journaled.epoch == acknowledged + 1 > epoch
        events = engine.status()["events"]
        done = [state["progress"]["events"] for state in states].index(events)
        assert 0 < done < len(few)
        # Ticks and deletions may have survived behind it: once more is the same.
        for step in few[done:]:
            do(engine, step)
        assert differences(whole_state(engine), states[-1]) == []
    caplog.clear()
    with opened(tmp_path / "torn", RARELY) as engine:
        assert differences(whole_state(engine), states[-1]) == []
    assert not caplog.records, "the next start is clean"


def test_a_log_that_ends_before_its_checkpoint_is_reported(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few[:4])
    shutil.copytree(tmp_path / "log", tmp_path / "old log")
    ingested(tmp_path, few[4:], (3,))
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "old log").rename(tmp_path / "log")
    with pytest.raises(LogCorruptError, match=r"it ends at record \d+, but \d+ had been read.*Restore the folder"):
        opened(tmp_path)


# --- damaged checkpoints


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("tables/item.safetensors", _flip),
    ("labels/CURRENT", _cut),
    ("trainer.safetensors", Path.unlink),
    ("manifest.json", _flip),
    ("manifest.json", Path.unlink),
]


@pytest.mark.parametrize(("file", "damage"), DAMAGES)
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    tmp_path: Path,
    few: list[Step],
    states: list[State],
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: Callable[[Path], None],
) -> None:
    ingested(tmp_path, few[:12], (4, 8, 10))
    broken = newest(tmp_path)
    damage(broken / file)
    with caplog.at_level(logging.WARNING), opened(tmp_path, RARELY) as engine:
        assert f"checkpoint {broken} is damaged and was passed over" in caplog.text
        assert differences(whole_state(engine), states[12]) == []
        for step in few[12:]:
            do(engine, step)
        engine.checkpoint()
    caplog.clear()
    with opened(tmp_path, RARELY) as engine:
        assert differences(whole_state(engine), states[-1]) == []
    assert "damaged" not in caplog.text, "said once"


def test_no_whole_checkpoint_is_reported(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few, (4, 8))
    for path in (tmp_path / "checkpoints").iterdir():
        _flip(path / "signals.safetensors")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole.*Restore the folder from a copy"):
            opened(tmp_path)


def test_a_checkpoint_of_another_format_is_reported(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few[:4], (4,))
    path = newest(tmp_path) / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=checkpoint._Manifest)
    later = checkpoint._Manifest(77, checkpoint._manifest_digest(77, bytes(manifest.body)), manifest.body)
    path.write_bytes(msgspec.json.encode(later))
    message = r"has format 77, this release reads format 3: use the release that wrote it, or move the folder away"
    with pytest.raises(CheckpointVersionError, match=message):
        opened(tmp_path)
    assert path.exists(), "it is not damaged, and stays where it is"


@pytest.mark.parametrize("name", ["item_dim", "tower_dim", "user_dim", "context_dim", "cross_rank", "hidden"])
def test_a_checkpoint_of_other_model_sizes_is_reported(tmp_path: Path, few: list[Step], name: str) -> None:
    ingested(tmp_path, few[:2], (2,))
    sizes = SETTINGS.model.settings
    other = replace(SETTINGS.model, settings=replace(sizes, **{name: getattr(sizes, name) * 2}))
    expected = r"with other sizes.*: \S+ has shape \(.*\) instead of \(.*\).*; start with a new data folder, or restore"
    with pytest.raises(ValueError, match=expected):
        opened(tmp_path, replace(SETTINGS, model=other))
    with opened(tmp_path) as engine:
        assert engine.status()["events"], "the folder was given back, and is as it was"


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few[:2], (2,))
    with pytest.raises(ValueError, match=r"of the model 'two_tower_dcn', and the settings name 'bpr'.*new data folder"):
        opened(tmp_path, replace(SETTINGS, model=ModelSettings("bpr")))


def test_a_checkpoint_of_other_widths_of_signals_is_reported(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few[:4], (4,))
    with pytest.raises(ValueError, match=r"other settings of the signals; take those"):
        opened(tmp_path, replace(SETTINGS, signals=replace(SETTINGS.signals, pair_width=7)))


# --- no room, no folder


def test_a_full_disk_stops_checkpoints_then_events_and_nothing_is_lost(on_small_disk: OnSmallDisk) -> None:
    printed = on_small_disk(HERE / "engine_until_full.py", 4_000_000)
    assert "could not be written" in printed
    assert "cannot grow" in printed
    assert printed.endswith("nothing is missing\n")


def test_a_folder_in_use_by_another_process_is_reported(tmp_path: Path, few: list[Step]) -> None:
    ingested(tmp_path, few[:2])
    hold = "import fcntl, os, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); "
    hold += "f.truncate(0); f.write(str(os.getpid())); f.flush(); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path / "log" / "log.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LogBusyError, match=rf"in use by process {other.pid}: stop it, or use another folder"):
            opened(tmp_path)
        other.communicate()
    with opened(tmp_path) as engine:
        assert engine.status()["events"]
