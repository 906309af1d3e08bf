"""The rules about what may be absent: a skip is a skip at home and a failure on the build machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import slow_tests
from tests.test_architecture import CORE

ROOT = Path(__file__).parent.parent

SUITE = """
import pytest

@pytest.mark.browser
def test_browser() -> None:
    pass

@pytest.mark.data
def test_data(data_dir) -> None:
    assert data_dir.is_dir()
"""


def _run(tmp_path: Path, *arguments: str, path: str, **environ: str) -> tuple[int, str]:
    """Run a tiny suite under the project's own conftest; `path` is where programs are looked for."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    browser\n    data\n    prometheus\n    slow\n")
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "STREAM_RECO_DATA")}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *arguments, str(tmp_path)],
        env=env | {"PATH": path} | environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A folder of programs with a chromium in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "chromium").write_text("#!/bin/sh\n")
    (folder / "chromium").chmod(0o755)
    return str(folder)


def test_what_is_absent_at_home_is_skipped_and_named(tmp_path: Path) -> None:
    status, output = _run(tmp_path, path="")
    assert status == 0
    assert "2 skipped" in output
    assert "chromium: NOT INSTALLED" in output
    assert "real logs: absent" in output


def test_an_absent_program_fails_the_build_but_absent_logs_do_not(tmp_path: Path) -> None:
    status, output = _run(tmp_path, path="", CI="true")
    assert status == 1
    assert "1 skipped, 1 error" in output
    assert "chromium is not installed" in output


def test_nothing_is_skipped_where_all_is_there(tmp_path: Path, programs: str) -> None:
    status, output = _run(tmp_path, path=programs, CI="true", STREAM_RECO_DATA=str(tmp_path))
    assert status == 0
    assert "2 passed" in output
    assert "chromium" not in output


def test_a_folder_of_logs_that_is_not_there_is_an_error(tmp_path: Path, programs: str) -> None:
    status, output = _run(tmp_path, path=programs, STREAM_RECO_DATA=str(tmp_path / "nowhere"))
    assert status == 1
    assert "is no folder" in output


def test_earlier_checks_stand_above_the_closing_line(tmp_path: Path, programs: str) -> None:
    _, output = _run(tmp_path, path=programs, STREAM_RECO_CHECKS="mypy: FAILED in 3 s\n")
    closing = output.rstrip().splitlines()[-1]
    assert "1 passed, 1 skipped" in closing
    assert "mypy: FAILED in 3 s" in output.partition("checks")[2]


def test_what_needs_a_server_or_logs_or_is_listed_is_not_in_the_fast_subset(tmp_path: Path, programs: str) -> None:
    (tmp_path / "slow_tests.txt").write_text("# why\n\ntest_other.py::test_long  7.1\ntest_whole.py\n")
    each = '@pytest.mark.parametrize("n", [1, 2])\ndef test_{}(n) -> None: pass\n'
    (tmp_path / "test_other.py").write_text("import pytest\n" + each.format("long") + each.format("longer"))
    (tmp_path / "test_whole.py").write_text("def test_one() -> None: pass\ndef test_two() -> None: pass\n")
    status, output = _run(tmp_path, "-m", "not slow", path=programs, STREAM_RECO_DATA=str(tmp_path))
    assert status == 0
    assert "2 passed, 6 deselected" in output
    status, output = _run(tmp_path, "-m", "slow", path=programs, STREAM_RECO_DATA=str(tmp_path))
    assert status == 0
    assert "6 passed, 2 deselected" in output


@pytest.mark.slow
def test_the_fast_subset_holds_tests_of_every_core_room() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "not slow", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rooms = {line.split("/")[1] for line in done.stdout.splitlines() if "::" in line}
    assert rooms >= CORE | {"config", "datasets", "embedded", "measure", "serve", "storage", "topologies"}


def test_what_is_listed_as_slow_exists() -> None:
    for name in sorted(slow_tests()):
        file, *inside = name.split("::")
        assert (ROOT / file).is_file(), name
        # The tests of a state machine stand in an attribute of it, under a name that Hypothesis gives.
        if inside:
            assert re.search(rf"\b{inside[0]}\b", (ROOT / file).read_text(encoding="utf-8")), name
