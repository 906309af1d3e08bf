"""Replays as processes, several in parallel; one that fails does not stop the others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result, RunStore
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.machine import cores

_POLL_SECONDS = 0.2
_END_SECONDS = 10
_TAIL_BYTES = 4096
_DONE = re.compile(r"^([\d,]+)/[\d,]+ (?:events|requests)", re.MULTILINE)
_SOURCE = Path(__file__).parents[3]


@dataclass
class RunningProcess:
    """A running replay; its output goes to `output_file`."""

    run: Run
    output_file: Path
    process: subprocess.Popen[bytes]

    def events(self) -> int:
        """How many events it has processed, from its output."""
        found = _DONE.findall(_tail(self.output_file))
        return int(found[-1].replace(",", "")) if found else 0

    def failure(self) -> str:
        """Why it failed: the last line of its output, and the exit status."""
        lines = [line for line in _tail(self.output_file).splitlines() if line.strip()]
        last = lines[-1] if lines else "no output"
        status = self.process.returncode
        ended = f"signal {-status}, perhaps out of memory" if status < 0 else f"status {status}"
        return f"{last} ({ended}; its output is in {self.output_file})"


class RunListener(Protocol):
    """Notified as replays start, progress and end."""

    def started(self, run: Run) -> None: ...

    def progressed(self, run: Run, events: int) -> None: ...

    def finished(self, run: Run, result: Result) -> None: ...

    def failed(self, run: Run, why: str) -> None: ...


@dataclass
class Pool:
    """Runs at most `jobs` replays at a time; `stop` ends them all."""

    store: RunStore
    jobs: int
    listener: RunListener
    stop: threading.Event
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, runs: Sequence[Run]) -> None:
        """Run them all; results go to the store, failed runs to `failures`: title → reason."""
        waiting, active = list(runs), list[RunningProcess]()
        try:
            while (waiting or active) and not self.stop.wait(_POLL_SECONDS if active else 0):
                while waiting and len(active) < self.jobs:
                    active.append(self._start(waiting.pop(0)))
                active = [one for one in active if not self._ended(one)]
        finally:
            for one in active:
                _end(one.process)
                self.store.part(one.run).unlink(missing_ok=True)

    def _start(self, run: Run) -> RunningProcess:
        output_file = self.store.file(run, "log")
        command = [sys.executable, "-m", "stream_reco.cli", *self.store.arguments(run)]
        with output_file.open("wb") as output:
            process = self._open(command, output)
        self.listener.started(run)
        return RunningProcess(run, output_file, process)

    def _open(self, command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.store.folder,
            env=environment(self.jobs),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _ended(self, one: RunningProcess) -> bool:
        if one.process.poll() is None:
            self.listener.progressed(one.run, one.events())
            return False
        why = one.failure() if one.process.returncode else self._store_result(one.run)
        self.store.part(one.run).unlink(missing_ok=True)
        if why:
            self.failures[one.run.title] = why
            self.listener.failed(one.run, why)
        return True

    def _store_result(self, run: Run) -> str:
        try:
            self.listener.finished(run, self.store.keep(run, self.jobs))
        except (Failure, OSError, ValueError, KeyError) as error:
            return f"its results cannot be used: {error}"
        return ""


def environment(jobs: int) -> dict[str, str]:
    """The environment of a replay: default settings, and its share of the cores unless the variables are set."""
    threads = str(max(1, cores() // jobs))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_RECO_")}
    path = os.pathsep.join(filter(None, [str(_SOURCE), inherited.get("PYTHONPATH")]))
    shares = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
    return shares | inherited | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
