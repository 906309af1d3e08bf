"""A shell that runs the commands of a page, one block after another, as a reader would in two terminals."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.pages import ROOT, Block

_ADDRESS = "127.0.0.1:8080"
_SERVER = re.compile(r"stream-reco (serve|demo)(?!.*--seconds)")
_READY_SECONDS = 240
_END_SECONDS = 60
_TIMEOUT_SECONDS = 30
_VARIES = frozenset({"request_id", "version", "score", "scores", "importance", "source"})
_VARY_BY_NAME = frozenset({"probabilities", "values"})
"""Of these the names count."""


class PageShell:
    """Runs blocks in `folder`. A server that a block starts is on a port of its own and lives until the end.

    The command `stream-reco` is that of this checkout; `data` stands for the folder with the real logs.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        assert shutil.which("curl"), "curl is not installed: the examples are run with it (apt-get install curl)"
        self.folder = folder
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        command = folder / "bin" / "stream-reco"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m stream_reco.cli "$@"\n')
        command.chmod(0o755)
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_RECO_")} | {
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "STREAM_RECO_SERVE_PORT": str(self._port),
            "STREAM_RECO_DATA": str(data),
        }

    def run(self, block: Block) -> str:
        """Run a block and return what it prints; every command in it must succeed."""
        if _SERVER.match(block.text):
            self._start(block)
            return ""
        if _ADDRESS in block.text or "stream-reco ingest" in block.text:
            self._wait_for("ready")
        text = block.text.replace(_ADDRESS, f"127.0.0.1:{self._port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=_READY_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line} failed:\n{text}{done.stdout}{done.stderr}"
        return done.stdout

    def check_answer(self, asked: Block, printed: str, shown: Block) -> None:
        """Hold what a block printed to the answer that the page shows.

        A block that begins with `sleep` waits for the loop, and may have to wait longer on a busy machine.
        """
        end = time.monotonic() + _TIMEOUT_SECONDS
        while essence(printed) != essence(shown.text) and asked.text.startswith("sleep ") and time.monotonic() < end:
            printed = self.run(asked)
        assert essence(printed) == essence(shown.text), f"line {shown.line}; the answer was {printed}"

    def _start(self, block: Block) -> None:
        assert self._server is None, f"line {block.line} starts a second server on the same port"
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                shlex.split(block.text),
                cwd=self.folder,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                executable=self.folder / "bin" / "stream-reco",
            )

    def _said(self) -> str:
        return (self.folder / "server.log").read_text()

    def _wait_for(self, state: str) -> None:
        assert self._server is not None, "the page asks a server before it has started one"
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end and self._server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/{state}", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"the server is not {state}; it said: {self._said()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        try:
            # Before it answers it has not learned yet how to end cleanly.
            self._wait_for("live")
            self._server.send_signal(signal.SIGINT)
            status = self._server.wait(_END_SECONDS)
        finally:
            self._server.kill()
        if error is None:
            assert status == 0, f"the server ended with status {status}; it said: {self._said()}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def essence(answer: str) -> object:
    """A JSON answer without what differs from run to run: numbers of the model, ids of requests, the order of items."""
    return _essence(json.loads(answer), "")


def _essence(value: Any, key: str) -> object:
    if key in _VARY_BY_NAME:
        return sorted(value)
    if isinstance(value, dict):
        return {name: _essence(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return sorted((_essence(part, key) for part in value), key=json.dumps)
    if key == "propensity" and value != 1.0:
        return key  # where places are explored it depends on how little the model knows
    return key if key in _VARIES else value
