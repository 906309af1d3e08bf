"""A scorer as a process of its own, and somebody who asks it all the time."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_reco.events import Id
from tests.integration.workers import ROOT

_READY_SECONDS = 300.0
_ASK_SECONDS = 0.02


class ScorerProcess:
    """`stream-reco serve --redis`, with environment variables without their prefix as settings."""

    def __init__(self, redis_url: str, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._told = folder / "told"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_RECO_")}
        given = {f"STREAM_RECO_{name}": value for name, value in settings.items()}
        path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "stream_reco.cli", "serve", "--redis", redis_url, "--port", "0"]
        with self._told.open("wb") as told:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=told, stderr=told,
                env=inherited | given | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def said(self) -> str:
        """What it has said so far."""
        return self._told.read_text(errors="replace")

    def port(self) -> int:
        """Its port, once it listens."""
        deadline = time.monotonic() + _READY_SECONDS
        while not (found := re.search(r"http://[\d.]+:(\d+)", self.said())):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)
        return int(found[1])

    def wait_until_ready(self) -> None:
        """Return once it serves a version."""
        deadline = time.monotonic() + _READY_SECONDS
        while "Ready after" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def wait_until_it_recommends(self) -> None:
        """Return once there are items in its slates; the first version may have come before all of them."""
        self.wait_until_ready()
        deadline = time.monotonic() + _READY_SECONDS
        while not self.slate("nobody")["items"]:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def slate(self, user: Id, count: int = 5) -> dict[str, Any]:
        """What it recommends to a user."""
        status, answer = self.ask("POST", "/v1/recommend", {"user_id": user, "k": count})
        assert status == 200, f"{status}: {answer}"
        assert isinstance(answer, dict), answer
        return answer

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Status and answer of one request, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=10)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)


class Visitor:
    """Asks a scorer for slates from `start` to `stop`, and keeps what went wrong."""

    def __init__(self, scorer: ScorerProcess, users: Sequence[Id]) -> None:
        self._scorer, self._users = scorer, users
        self.asked = 0
        self.failures: list[str] = []
        self.versions: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_ASK_SECONDS):
            self.asked += 1
            try:
                slate = self._scorer.slate(self._users[self.asked % len(self._users)])
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))
                continue
            if slate["items"]:
                self.versions.add(slate["version"])
            else:
                self.failures.append(f"a slate without items: {slate}")
