"""A scorer as a process of its own, and somebody who asks it all the time."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Id
from tests import programs

_READY_SECONDS = 300.0
_ASK_SECONDS = 0.02


class ScorerProcess(programs.Program):
    """`stream-reco serve --redis`, with environment variables without their prefix as settings."""

    def __init__(
        self, redis_url: str, folder: Path, settings: Mapping[str, str], kafka: KafkaSettings | None = None
    ) -> None:
        """Without `kafka` it takes no events."""
        environment = programs.environ(**programs.settings(**settings))
        if kafka is not None:
            environment |= programs.kafka_environ(kafka)
        super().__init__(["serve", "--redis", redis_url, "--port", "0"], folder, environment)

    def port(self) -> int:
        """Its port, once it listens."""
        return int(self.wait_for(r"http://[\d.]+:(\d+)", _READY_SECONDS)[1])

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.port()}/metrics"

    def wait_until_ready(self) -> None:
        """Return once it serves a version."""
        self.wait_for("Ready after", _READY_SECONDS)

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
