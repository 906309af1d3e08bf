"""The command line from outside: help, settings, what goes wrong and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from stream_reco.cli.app import main
from stream_reco.cli.commands.bench import folder_of, names_in
from stream_reco.cli.doctor.machine import check_compiler, check_data_folder, check_packages, check_port
from stream_reco.config import Settings
from stream_reco.datasets import FORMATS
from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, failed_events
from stream_reco.metrics import EVENTS_REJECTED
from stream_reco.serve.settings import ServeSettings
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.log_options import Format
from tests.programs import COMMAND, ROOT, environ

TABLE = ("--format", "table", "--columns", "user=who,item=what,timestamp=when", "--time-unit", "iso")
SECRET = " ".join(["nobody", "may", "see", "this"])
LIGHT = """
import sys
import stream_reco.cli.app
heavy = {"numpy", "torch", "numba", "msgspec", "pyarrow", "uvicorn"} & set(sys.modules)
assert not heavy, heavy
"""


def stream_reco(*arguments: object, **given: str) -> tuple[int, str, str]:
    """Run the command; returns its exit status, output and error output."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environ() | {"COLUMNS": "200"} | given,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_help_lists_the_commands_and_loads_nothing_heavy() -> None:
    status, output, _ = stream_reco("--help")
    assert status == 0
    for command in ("replay", "ingest", "doctor", "bench"):
        assert command in output
    subprocess.run([sys.executable, "-c", LIGHT], check=True, env=environ())


def test_formats_are_those_of_the_loader() -> None:
    assert {one.value for one in Format} == set(FORMATS)


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["replay"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
        (["replay", "x", "--format", "excel"], 2, "excel"),
        (["replay", "x", "--format", "table"], 2, "--columns user=U,item=I,timestamp=T"),
        (["replay", "x", "--format", "table", "--columns", "user=a"], 2, "no column for item, timestamp"),
        (["replay", "x", "--format", "globo", "--columns", "user=a,item=b,timestamp=c"], 2, "for --format table"),
        (["replay", "x", "--format", "globo", "--separator", ";"], 2, "--separator is for --format table"),
        (["ingest", "x", "--format", "events", "--id-type", "text"], 2, "--id-type is for tables"),
        (["ingest", "x", "--format", "globo", "--encoding", "klingon"], 2, "--encoding: unknown encoding: klingon"),
        (["ingest", "x", *TABLE, "--time-format", "%d.%m.%Y"], 2, "--time-unit and --time-format exclude each other"),
        (["ingest", "x", *TABLE[:-2], "--order-is-time"], 2, "--order-is-time is for files without times"),
        (["ingest", "x", *TABLE[:2], "--columns", "user=#1,item=what,timestamp=#3"], 2, "which has no column 'what'"),
        (["replay", "x", "--format", "globo", "--sync-interval", "0"], 2, "--sync-interval is '0'"),
        (["replay", "x", "--format", "globo", "--sync-interval", "nan"], 2, "--sync-interval is 'nan'"),
        (["replay", "x", "--format", "globo", "--limit", "0"], 2, "--limit"),
        (["replay", "x", "--format", "globo", "--without-source", "luck"], 2, "choose from content, context, covisits"),
        (["replay", "x", "--format", "globo", "--without-features", "luck"], 2, "popularity"),
        (["replay", "x", "--format", "globo", "--json", "/nowhere/out.json"], 1, "cannot write /nowhere/out.json"),
        (["replay", "/nowhere.parquet", "--format", "globo"], 1, "there is no such file"),
        (["replay", "x", "--format", "globo", "--config", "/nowhere.toml"], 2, "cannot be read"),
        (["ingest", "/nowhere.jsonl", "--format", "events"], 1, "there is no such file"),
        (["ingest", "x", "--format", "events", "--url", "ftp://x"], 2, "--url"),
        (["bench", "nonsense"], 2, "there is no benchmark 'nonsense'"),
    ],
)
def test_what_people_do_wrong_is_told_in_a_sentence(
    arguments: list[str],
    status: int,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["stream-reco", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    output, errors = capsys.readouterr()
    assert complaint in errors
    assert output == ""


def test_no_traceback_reaches_people() -> None:
    status, output, errors = stream_reco("replay", "/nowhere.parquet", "--format", "globo")
    assert status == 1
    assert errors.startswith("stream-reco: /nowhere.parquet: ")
    assert "Traceback" not in errors
    assert output == ""


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("1,2,2024-03-01T12:00:00Z\n", "no valid events (1 timestamp); the first problem: log.csv:2: t is '2024-"),
        (",2,5\n1,,5\n1,2,6\n", "no valid events (2 id, 1 timestamp); the first problem: log.csv:2: u is ''"),
        ("", "it has no rows"),
    ],
)
def test_a_log_without_one_event_is_the_wrong_log(
    rows: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.csv").write_text("u,i,t\n" + rows)
    table = ("--format", "table", "--columns", "user=u,item=i,timestamp=t", "--time-unit", "ms")
    monkeypatch.setattr(sys, "argv", ["stream-reco", "replay", str(tmp_path / "log.csv"), *table])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert complaint in capsys.readouterr().err


def test_every_problem_with_the_settings_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[serve]\nport = 99999\n[labels]\nwindow = 3\n")
    arguments = ("replay", "x", "--format", "globo", "--config", tmp_path / "bad.toml")
    status, _, errors = stream_reco(*arguments, STREAM_RECO_TRAINING_BATCH="many")
    assert status == 2
    for setting in ("serve.port", "labels.window", "STREAM_RECO_TRAINING_BATCH"):
        assert setting in errors


def test_doctor_shows_where_each_setting_comes_from(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[training]\nbatch = 32\n")
    status, output, _ = stream_reco(
        "doctor",
        "--settings",
        "--config",
        tmp_path / "mine.toml",
        STREAM_RECO_SERVE_PORT="9999",
        STREAM_RECO_SERVE_TOKEN=SECRET,
    )
    assert status == 0
    assert f"training.batch = 32  # file {tmp_path / 'mine.toml'}; STREAM_RECO_TRAINING_BATCH" in output
    assert "serve.port = 9999  # environment STREAM_RECO_SERVE_PORT" in output
    assert "training.seed = 0  # default" in output
    assert SECRET not in output


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, output, errors = stream_reco("doctor", "--data", tmp_path / "file" / "data", STREAM_RECO_SERVE_PORT="x")
    assert status == 1
    assert "✗ data folder" in output
    assert "✗ settings" in output
    assert "✓ torch" in output
    assert "2 problems" in errors


def test_checks_tell_good_from_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_data_folder(tmp_path / "new" / "folder").state == "good"
    assert all(finding.state == "good" for finding in check_packages())
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert check_port("127.0.0.1", number).state == "warning"
        assert str(number) in check_port("127.0.0.1", number).text
    assert check_port("127.0.0.1", 0).state == "good"
    monkeypatch.setenv("PATH", "")
    assert check_compiler().state == "warning"


def test_benchmarks_are_those_of_the_checkout_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder_of(tmp_path) == ROOT / "tests" / "bench"
    installed = tmp_path / "site-packages" / "stream_reco" / "cli" / "bench.py"
    monkeypatch.setattr("stream_reco.cli.commands.bench.__file__", str(installed))
    assert folder_of(ROOT / "docs") == ROOT / "tests" / "bench"
    with pytest.raises(Failure, match="run this in a checkout"):
        folder_of(tmp_path)


def test_benchmarks_are_found_by_name() -> None:
    names = names_in(ROOT / "tests" / "bench")
    assert "labels" in names
    assert stream_reco("bench")[1].split() == names
    assert names_in(ROOT / "nowhere") == []


def test_settings_become_plain_and_lose_their_secrets() -> None:
    tree = as_json(Settings(serve=ServeSettings(token=SECRET)))
    assert isinstance(tree, dict)
    assert SECRET not in str(tree)
    assert tree["labels"]["window_days"] == 14.0
    assert json.loads(json.dumps(tree)) == tree


def test_events_that_could_not_be_learned_from_are_counted() -> None:
    before = failed_events()
    EVENTS_REJECTED.labels("internal").inc(3)
    EVENTS_REJECTED.labels("value").inc(5)
    assert failed_events() - before == 3


def test_the_commit_is_that_of_the_checkout_if_there_is_one(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == {"git_commit": None, "git_changed": None}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    package = tmp_path / "package"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    subprocess.run([*git, "init", "-q"], check=True)
    assert commit_of(package)["git_commit"] is None  # not committed yet
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "m"], check=True)
    found = commit_of(package)
    assert len(str(found["git_commit"])) == 40
    assert found["git_changed"] is False
    (tmp_path / "other.py").write_text("")
    assert commit_of(package)["git_changed"] is False
    (package / "room" / "other.py").write_text("")
    assert commit_of(package)["git_changed"] is True


def test_reports_know_their_own_commit() -> None:
    head = subprocess.run(["git", "-C", str(PACKAGE), "rev-parse", "HEAD"], check=False, capture_output=True, text=True)
    assert (PACKAGE / "__init__.py").exists()
    assert commit_of(PACKAGE)["git_commit"] == (head.stdout.strip() or None)


def write_log(path: Path, rows: int = 240) -> None:
    """Clicks with ids of all kinds, unsorted, in ISO times, and three rows that are no events."""
    rng = np.random.default_rng(0)
    users = ["-9223372036854775808", "9223372036854775807", "ünïcode 🎈", "5", *(f"u{i}" for i in range(20))]
    lines = [f"{users[rng.integers(len(users))]},item {rng.integers(15)},{_iso(second)}" for second in range(rows)]
    lines += [",item 1," + _iso(3), "u1,," + _iso(3), "u1,item 1,yesterday"]
    path.write_text("who,what,when\n" + "\n".join(rng.permutation(lines)) + "\n")


def _iso(second: int) -> str:
    return f"{datetime(2024, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"


def test_replay_reports_the_figures_and_two_runs_agree(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv")
    reports = []
    for run in ("1", "2"):
        out = tmp_path / f"{run}.json"
        status, output, errors = stream_reco(
            "replay", tmp_path / "log.csv", *TABLE, "--warm-up", 100, "--sync-interval", 20, "--json", out
        )
        assert status == 0, errors
        assert "240 events" in output
        reports.append(json.loads(out.read_bytes()))
    first, second = reports
    for name in ("evaluated", "hr@10", "ndcg@10", "mrr@10", "auc", "logloss", "calibration", "rows"):
        assert first[name] == second[name], name
    assert first["events"] == 240
    assert first["evaluated"] == 140
    assert first["rows"].keys() == {"item", "user", "context", "content", "encoder"}
    assert first["dead_letters"] == {"id": 2, "timestamp": 1}
    assert 0.0 < first["hr@10"] < 1.0
    assert 8 <= first["freshness_seconds"]["p50"] <= 12
    assert first["negatives"] == "sampled"
    assert first["events_per_second"] > 0
    assert first["peak_rss_bytes"] > 1e8
    assert first["settings"]["slate"]["explore"] == 0.0


@pytest.mark.parametrize("seconds", [1.0, 2.5, 6.0])
def test_replay_ends_cleanly_on_interrupt(tmp_path: Path, seconds: float) -> None:
    write_log(tmp_path / "log.csv", rows=30_000)
    process = subprocess.Popen(
        [*COMMAND, "replay", str(tmp_path / "log.csv"), *TABLE, "--warm-up", "100"],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(seconds)  # somewhere between its first import and its last event
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130  # as shells know it
    assert "Traceback" not in errors


@pytest.mark.data
def test_a_real_log_replays(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    log = data_dir / "globo_clicks.parquet"
    status, _, errors = stream_reco("replay", log, "--format", "globo", "--limit", 1500, "--json", out)
    assert status == 0, errors
    report = json.loads(out.read_bytes())
    assert report["evaluated"] == 1000
    assert report["hr@10"] > 0.4
