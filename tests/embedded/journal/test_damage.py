"""Damage to any one file of a data folder is harmless, recovered with a warning, or refused with what to do."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.embedded import Engine
from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.events import Action
from stream_reco.storage.checkpoint import NoWholeCheckpointError
from stream_reco.storage.event_log import LogError, LogLossError
from tests.embedded.journal.damage import RARELY, World, copy, damages, in_turns, make_world, outcome_of
from tests.embedded.journal.recovery_world import differences, opened, state_of

ROOT = Path(__file__).parents[3]
CASES = 70


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def test_no_damage_to_a_file_is_silent(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    chosen = in_turns(list(damages(world, 3, rng, small=40)), rng)[:CASES]
    found = Counter(outcome_of(world, case, tmp_path)[0] for case in chosen)
    assert found["silent"] == 0
    assert min(found["same"], found["recovered"], found["refused"]) > 5


def test_a_bit_of_the_write_ahead_log_of_a_thousand_acknowledged_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _killed_after_a_thousand(tmp_path / "shop")
    wal = tmp_path / "shop" / "log" / "log.sqlite3-wal"
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 4
    wal.write_bytes(data)
    with pytest.raises(LogLossError, match=r"has lost \d+ acknowledged records?: .*--accept-loss") as refused:
        Engine(tmp_path / "shop", RARELY)
    assert wal.read_bytes() == data
    lost = int(str(refused.value).split(" has lost ")[1].split()[0])
    before = metrics.REGISTRY.get_sample_value("stream_reco_log_lost_records_total") or 0.0
    with Engine(tmp_path / "shop", RARELY, accept_loss=True) as engine:
        assert 0 < engine.status()["events"] < 1000
    assert metrics.REGISTRY.get_sample_value("stream_reco_log_lost_records_total") == before + lost
    assert f"{lost} are lost" in caplog.text
    (aside,) = (tmp_path / "shop" / "log").glob("damaged-*")
    assert (aside / wal.name).read_bytes() == data, "what was damaged is set aside, not deleted"


def _killed_after_a_thousand(folder: Path) -> None:
    program = """
import os, sys
from stream_reco.embedded import Engine
from stream_reco.events import Action
from tests.embedded.journal.damage import RARELY
engine = Engine(sys.argv[1], RARELY)
for batch in range(50):
    events = [
        Action(user_id=n % 17, item_id=n % 13, action="click", timestamp=1_700_000_000_000 + n, event_id=n)
        for n in range(batch * 20, batch * 20 + 20)
    ]
    assert engine.ingest(events).accepted == 20
os.kill(os.getpid(), 9)
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], env=env, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL


def test_an_earlier_releases_folder_opens_and_gets_the_second_file(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy(world.folder, tmp_path / "old")
    (tmp_path / "old" / "log" / "acknowledged").unlink()
    with closing(Storage(tmp_path / "old")) as storage:
        assert not differences(state_of(JournaledLearner(storage, RARELY).learner), world.state)
    assert "acknowledged: it is missing" in caplog.text
    assert (tmp_path / "old" / "log" / "acknowledged").stat().st_size == 8192


def test_a_whole_folder_that_is_missing_is_refused_until_the_loss_is_accepted(world: World, tmp_path: Path) -> None:
    for number, lost in enumerate(("checkpoints", "log")):
        folder = tmp_path / str(number)
        copy(world.folder, folder)
        shutil.rmtree(folder / lost)
        with pytest.raises(LogError, match="--accept-loss"), closing(Storage(folder)) as storage:
            JournaledLearner(storage, RARELY)
        with closing(Storage(folder, accept_loss=True)) as storage:
            state = state_of(JournaledLearner(storage, RARELY).learner)
        with closing(Storage(folder)) as storage:
            assert not differences(state_of(JournaledLearner(storage, RARELY).learner), state)


def test_without_a_whole_checkpoint_the_log_counts_if_it_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = [
        Action(user_id=n % 5, item_id=n % 3, action="click", timestamp=1_700_000_000_000 + n, event_id=n)
        for n in range(40)
    ]
    with opened(tmp_path, RARELY) as engine:
        engine.ingest(events)
        engine.checkpoint()
        state = state_of(engine.learner)
    (path,) = (tmp_path / "checkpoints").iterdir()
    (path / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING), opened(tmp_path, RARELY) as engine:
        assert not differences(state_of(engine.learner), state)
    assert "The log is read from its beginning instead" in caplog.text


def test_two_damaged_checkpoints_are_refused_until_the_loss_is_accepted(world: World, tmp_path: Path) -> None:
    copy(world.folder, tmp_path / "folder")
    for path in (tmp_path / "folder" / "checkpoints").iterdir():
        (path / "manifest.json").unlink()
    for _ in range(2):
        with pytest.raises(NoWholeCheckpointError, match="--accept-loss"), closing(Storage(tmp_path / "folder")) as one:
            JournaledLearner(one, RARELY)
    with closing(Storage(tmp_path / "folder", accept_loss=True)) as storage:
        journaled = JournaledLearner(storage, RARELY)
        assert journaled.position == world.position + 1
        assert journaled.learner.state.events > 0, "what the log holds is learned"
    with opened(tmp_path / "folder", RARELY) as engine:
        assert engine.journaled.epoch == world.position + 2
