"""The README, executed: what it tells newcomers to type works, and answers as it says."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from stream_reco.cli.app import app
from stream_reco.cli.commands.bench import names_in
from tests.page_shell import PageShell
from tests.pages import ROOT, Block, page

README = page("README.md")
FIRST = 1_507_000_000_000
ROWS = 60


def globo(path: Path) -> None:
    """A news log of a few clicks, in the owner's columns."""
    numbers = range(ROWS)
    columns: dict[str, list[int]] = {
        "user_id": [number % 9 for number in numbers],
        "click_article_id": [number * 7 % 11 for number in numbers],
        "click_timestamp": [FIRST + number * 30_000 for number in numbers],
        "session_start": [FIRST for _ in numbers],
    }
    for name in ("environment", "deviceGroup", "os", "country", "region", "referrer_type"):
        columns[f"click_{name}"] = [number % 2 for number in numbers]
    pq.write_table(pa.table(columns), path)


def movielens(folder: Path) -> None:
    """A few ratings in the oldest form of the set."""
    folder.mkdir()
    lines = [f"{number % 9}\t{number * 7 % 11}\t{number % 5 + 1}\t{880_000_000 + number}" for number in range(ROWS)]
    (folder / "u.data").write_text("\n".join(lines) + "\n")


def own_log(block: Block) -> str:
    """The log that the README shows, going on as it begins."""
    more = [f"u{number % 9},i{number * 7 % 11},2024-05-01T10:{number:02d}:00Z" for number in range(ROWS)]
    return block.text + "\n".join(more) + "\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small logs under the names of the real ones."""
    folder = tmp_path_factory.mktemp("data")
    globo(folder / "globo_clicks.parquet")
    movielens(folder / "ml100k")
    return folder


@pytest.fixture
def shell(tmp_path: Path, data: Path) -> Iterator[PageShell]:
    with PageShell(tmp_path, data) as opened:
        yield opened


def block_with(text: str) -> Block:
    (found,) = [block for block in README.blocks if text in block.text]
    return found


def commands_of_figures() -> list[str]:
    cells = [row[-1] for row in README.table("what") if len(row) == 4]
    return [found for cell in cells for found in re.findall(r"`(stream-reco [^`]+)`", cell)]


def test_one_line_installs_and_runs_the_demo(shell: PageShell) -> None:
    block = block_with("pip install")
    make, install, demo = block.text.strip().split(" && ")
    assert (make, install) == ("python3 -m venv .venv", ".venv/bin/pip install .")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert demo.removeprefix(".venv/bin/").split()[0] in project["scripts"]
    assert f"Python {project['requires-python'].removeprefix('>=')}" in README.text
    # The line as it is, with an end; the environment of the tests stands for the one that it would make.
    shell.run(Block("sh", f"{demo.removeprefix('.venv/bin/')} --seconds 3", block.line))


def test_one_line_runs_the_tests() -> None:
    assert block_with("tests/run").text == "bash tests/run\n"
    subprocess.run(["bash", "-n", "tests/run"], cwd=ROOT, check=True)
    assert "bash tests/run" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.timeout(900)
def test_what_follows_runs_as_it_stands(shell: PageShell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.folder / "clicks.csv").write_text(own_log(block_with("who,what,when")))
    monkeypatch.chdir(shell.folder)
    asked, printed, answers = None, "", 0
    for block in README.blocks:
        if block.line < block_with("stream-reco serve").line:
            continue
        if block.language == "sh":
            asked, printed = block, shell.run(block)
        elif block.language == "json" and asked is not None:
            shell.check_answer(asked, printed, block)
            answers += 1
        elif block.language == "python":
            path = shell.folder / "snippet.py"
            path.write_text(block.text)
            runpy.run_path(str(path))
    assert answers >= 3, "an answer before the clicks, one after, and what was accepted"
    assert (shell.folder / "figures.json").exists()


def test_figures_name_commands_that_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("STREAM_RECO_"):
            monkeypatch.delenv(name)
    replays = {command for command in commands_of_figures() if "replay" in command}
    assert replays
    for command in sorted(replays):
        arguments = shlex.split(command.replace("$STREAM_RECO_DATA", str(data)))[1:]
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, f"{command}: {done.output}"
        assert f"{ROWS} events" in done.output or "events in" in done.output


def test_figures_name_benchmarks_that_exist() -> None:
    benches = {command.split()[-1] for command in commands_of_figures() if command.startswith("stream-reco bench")}
    assert benches
    assert benches <= set(names_in(ROOT / "tests" / "bench"))
