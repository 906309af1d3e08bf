"""How the process ends: its output whole, its status kept, whatever threads are left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import atexit, sys, threading, time
from stream_reco.cli import process

def main() -> None:
    if {left}:
        threading.Thread(target=time.sleep, args=(60,), daemon={left} == "daemon").start()
    print("all is said")
    sys.exit({code!r})

atexit.register(print, "unwound")
process.main = main
process.run()
"""


@pytest.mark.parametrize("code", [0, 1, 3, None])
@pytest.mark.parametrize("left", ["daemon", "thread", ""])
def test_threads_that_are_left_are_not_unwound(left: str, code: int | None) -> None:
    done = end(left, code)
    assert done.returncode == (code or 0)
    assert done.stdout == ("all is said\n" if left else "all is said\nunwound\n")
    assert not done.stderr


def test_what_went_wrong_is_said() -> None:
    done = end("daemon", "nothing works")
    assert (done.returncode, done.stderr) == (1, "nothing works\n")


def test_a_reader_who_has_gone_is_no_error() -> None:
    command = [sys.executable, "-c", PROGRAM.format(left="'daemon'", code=0)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, env=environ(), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def end(left: str, code: int | str | None) -> subprocess.CompletedProcess[str]:
    """Run a command that leaves a thread, or none, and ends with `code`."""
    command = [sys.executable, "-c", PROGRAM.format(left=repr(left), code=code)]
    return subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=60, check=False)


def environ() -> dict[str, str]:
    """As a user has it, with this checkout first; output is written when it ends."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
