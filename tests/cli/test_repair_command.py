"""`stream-reco repair clock` as people run it."""

from __future__ import annotations

from pathlib import Path

from stream_reco.clock import ManualClock, SystemClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action
from tests.cli.test_commands import stream_reco

DAY = 86_400_000


def run_away(folder: Path, ahead: int) -> None:
    now = SystemClock().now_ms() + ahead
    with Engine(folder, Settings(), clock=ManualClock(now)) as engine:
        engine.ingest([Action(user_id="u", item_id="i", action="click", timestamp=now)])


def test_a_folder_is_healed_once_and_then_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    run_away(folder, 400 * DAY)
    status, output, errors = stream_reco("repair", "clock", folder, "--dry-run")
    assert status == 0, errors
    assert "would be turned back by 400.0 days" in output
    assert "Nothing was changed" in output
    status, output, errors = stream_reco("repair", "clock", folder)
    assert status == 0, errors
    assert "will be turned back by 400.0 days" in output
    assert "1 users" in output
    with Engine(folder, Settings()) as engine:
        assert engine.clock_problem is None
        assert abs(engine.stream_time - SystemClock().now_ms()) < 600_000
        assert engine.status()["users"] == 1
    status, output, errors = stream_reco("repair", "clock", folder)
    assert status == 0, errors
    assert "Nothing to repair" in output


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path) -> None:
    for arguments, wanted, text in (
        (("clock", tmp_path / "none"), 1, "is no data folder"),
        (("clock", tmp_path, "--to", "yesterday"), 2, "is no time"),
        (("clock", tmp_path, "--to", "2999-01-01"), 2, "in the future"),
    ):
        status, _, errors = stream_reco("repair", *arguments)
        assert status == wanted
        assert text in errors
        assert "Traceback" not in errors
