"""What commands print of data is printed as it is: no markup, no emoji codes, no control sequences."""

from __future__ import annotations

import ast
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stream_reco.cli.app import app, main
from stream_reco.cli.commands import bench, dead_letters, doctor, ingest, replay, topics
from stream_reco.cli.doctor.machine import Finding
from stream_reco.cli.server.client import Sent
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.experiments.runs.plan import EXPERIMENTS
from stream_reco.experiments.runs.progress import RunsProgress
from stream_reco.terminal.console import DataConsole
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.logs import log_to_stderr
from stream_reco.terminal.printing import visible
from tests.programs import ROOT
from topologies.dead_letters.letter import DeadLetter, StoredLetter
from topologies.topics.report import TopicReport

HARMLESS = ":100: [bold]x[/bold] [/] [red]"
HOSTILE = HARMLESS + "\x1b[2J\x07\r\x9b1m"
SHOWN = HARMLESS + r"\x1b[2J\x07\r\x9b1m"
Tried = Callable[[Path, pytest.MonkeyPatch], object]


def a_dead_letter(*_: object) -> None:
    letter = DeadLetter(
        topic="events", partition=0, offset=1, reason="id", message=HOSTILE, key=None, value=None, time=1
    )
    dead_letters._print_table([StoredLetter(0, 0, letter)])


def bad_rows(*_: object) -> None:
    bad = DeadLetters()
    bad.add("id", "log.csv:1", HOSTILE)
    log: Any = SimpleNamespace(dead_letters=bad)
    replay._print_summary(DataConsole(), ReplayTally(), log, interrupted=False)


def rejections(*_: object) -> None:
    log: Any = SimpleNamespace(dead_letters=DeadLetters())
    ingest._print_summary(DataConsole(), Sent(1, 0, 0, Counter({"id": 1}), [HOSTILE]), log)


def a_finding(*_: object) -> None:
    doctor._print_findings([Finding("bad", "data folder", HOSTILE)])


def a_setting(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("STREAM_RECO_KAFKA_PREFIX", "x")
    described = [SimpleNamespace(key="kafka.prefix", value=HOSTILE, origin="default", variable="V")]
    patch.setattr("stream_reco.config.describe", lambda _: described)
    doctor._print_settings(None)


def figures(*_: object) -> None:
    bench._show("loop", {HARMLESS: 1.0, "what": HOSTILE})


def topic_problems(_: Path, patch: pytest.MonkeyPatch) -> None:
    def answered(work: Any) -> TopicReport:
        work.close()
        return TopicReport([], [HOSTILE], [])

    patch.setattr(topics, "run", answered)
    patch.setattr(topics, "settings_with_kafka", lambda _: None)
    topics.topics(topics.TopicsAction.check)


def a_failed_run(*_: object) -> None:
    run = next(iter(EXPERIMENTS.values()))().everything[0]
    with RunsProgress(1, None) as progress:
        progress.failed(run, HOSTILE)


def a_failure(_: Path, patch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Failure(HOSTILE)

    patch.setattr("stream_reco.cli.app.app", fail)
    with pytest.raises(SystemExit):
        main()


def a_log_line(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logging.root, "handlers", [])
    log_to_stderr()
    logging.getLogger("stream_reco").warning("%s", HOSTILE)


def no_such_folder(*arguments: str) -> Tried:
    def tried(_: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("sys.argv", ["stream-reco", *arguments])
        with pytest.raises(SystemExit):
            main()

    return tried


PRINTING: dict[str, list[Tried]] = {
    "dead-letters": [a_dead_letter],
    "replay": [bad_rows],
    "ingest": [rejections],
    "doctor": [a_finding, a_setting],
    "bench": [figures],
    "topics": [topic_problems],
    "reproduce": [a_failed_run],
    "serve": [a_failure, a_log_line],
    "work": [a_log_line],
    "backup": [no_such_folder("backup", HOSTILE, "out")],
    "transfer": [no_such_folder("transfer", HOSTILE, "out")],
    "restore": [no_such_folder("restore", HOSTILE, "data")],
    "repair": [no_such_folder("repair", "clock", HOSTILE)],
    "export": [no_such_folder("export", "events", HOSTILE)],
}
"""What each command prints of data, and how to have it printed."""
OWN_WORDS = {"demo", "models", "learn", "simulate", "cold-start", "handover", "second-shop"}
"""Commands that print nothing but our own words, numbers and the names of our models."""


@pytest.mark.parametrize("terminal", [False, True], ids=["file", "terminal"])
@pytest.mark.parametrize(("command", "tried"), [(name, one) for name, all_ in PRINTING.items() for one in all_])
def test_data_is_printed_verbatim(
    command: str,
    tried: Tried,
    terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    tried(tmp_path, monkeypatch)
    printed = "".join(capsys.readouterr())
    assert SHOWN in printed, command
    assert "\x1b[2J" not in printed
    assert "\x07" not in printed
    assert "\x9b" not in printed


def test_every_command_is_tried() -> None:
    names = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}  # type: ignore[union-attr] # all have one
    assert PRINTING.keys() | OWN_WORDS >= names


def test_what_is_visible_stays_and_what_is_not_is_escaped() -> None:
    assert visible("Grüße 東京 😀 [x]") == "Grüße 東京 😀 [x]"
    assert visible("\x1b\x00\n\u202e\x85") == r"\x1b\x00\n\u202e\x85"


def test_there_is_one_console() -> None:
    """Whoever makes another one, or has text taken for markup, prints data that way sooner or later."""
    allowed = Path("stream_reco/terminal/console.py")
    found = []
    for path in sorted([*(ROOT / "stream_reco").rglob("*.py"), *(ROOT / "topologies").rglob("*.py")]):
        if path.relative_to(ROOT) == allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                text = ast.unparse(node.args[0]) if node.args else ""
                if (
                    name.split(".")[-1] in ("Console", "get_console", "from_markup", "render_markup")
                    or name in ("print", "rich.print", "typer.secho", "click.echo", "sys.stdout.write")
                    or (name.split(".")[-1] == "TextColumn" and "{" in text and options.get("markup") != "False")
                    or (name == "typer.echo" and "encode(" not in text and path.name != "printing.py")
                    or any(options.get(option) == "True" for option in ("markup", "emoji", "highlight"))
                ):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert found == []
