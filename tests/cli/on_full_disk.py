"""Run by test_endings.py on a small disk: what commands say that find it full, at the start and at the end."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from stream_reco.events import decode_batch
from stream_reco.storage.event_log import EventLog
from tests.programs import COMMAND, environ

MOUNTED_BYTES = 10_000_000
SECONDS = 120.0
EVENTS = [{"type": "action", "user_id": 1, "item_id": item, "action": "click"} for item in range(20)]


class Disk:
    """A disk to be filled; where none is mounted, a limit on the size of files that commands are started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = os.statvfs(folder)
        self._block = found.f_frsize
        self._is_mounted = found.f_blocks * found.f_frsize < MOUNTED_BYTES
        self._ballast = folder / "ballast"

    def fill(self, process: subprocess.Popen[str] | None = None) -> None:
        if self._is_mounted:
            self._ballast.unlink(missing_ok=True)
            # One block is left, for a folder of temporary files that is probed before it is used.
            self._ballast.write_bytes(bytes((os.statvfs(self.folder).f_bavail - 1) * self._block))
        else:
            resource.prlimit(process.pid if process else 0, resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)
        resource.prlimit(0, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def fails(disk: Disk, *arguments: str) -> None:
    """The command says one sentence and ends with status 1."""
    command, env = [*COMMAND, *arguments], environ(TMPDIR=str(disk.folder))
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1, (arguments, done.returncode, done.stderr)
    assert len(said) == 1, (arguments, done.stderr)
    assert said[0].startswith("stream-reco: "), said
    assert "ree space" in said[0], said


def started(data: Path) -> tuple[subprocess.Popen[str], str]:
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://[\d.:]+", process.stdout.readline())
    assert found
    assert "Ready" in process.stdout.readline()
    return process, found[0]


def post_events(url: str) -> None:
    request = urllib.request.Request(
        f"{url}/v1/events", json.dumps(EVENTS).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["accepted"] == len(EVENTS)


def ends_well(process: subprocess.Popen[str]) -> str:
    """Ended by SIGTERM it says what it could not write, has status 0 and no traceback."""
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors
    assert "everything is safe" in output
    return errors


def main(disk: Disk) -> None:
    disk.fill()
    fails(disk, "demo", "--port", "0", "--seconds", "1")
    fails(disk, "serve", "--data", str(disk.folder / "new"), "--port", "0")
    disk.empty()
    process, url = started(disk.folder / "data")
    post_events(url)
    time.sleep(1.5)
    disk.fill(process)
    errors = ends_well(process)
    assert "no checkpoint was written at the end" in errors, errors
    disk.fill()
    fails(disk, "serve", "--data", str(disk.folder / "data"), "--port", "0")
    disk.empty()
    with EventLog(disk.folder / "data" / "log") as log:
        kept = [event for record in log.read() if record.kind == "events" for event in decode_batch(record.payload)]
    assert len(kept) == len(EVENTS)
    sys.stdout.write("nothing is missing\n")


main(Disk(Path(sys.argv[1])))
