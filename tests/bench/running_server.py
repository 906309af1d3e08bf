"""The real server in a process of its own, with the shop's settings, and a client of it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import environ
from pathlib import Path

from stream_reco.events import Event, Id, encode
from tests.bench.busy_shop import RETRIEVE

CONTEXT = {"device": "phone"}
_CONFIG = "[retrieve]\n" + "".join(
    f"{name} = {getattr(RETRIEVE, name)}\n" for name in ("trending", "tower", "interests", "fresh", "limit")
)
_READY_SECONDS = 240
ROOT = Path(__file__).parents[2]


@contextmanager
def server(folder: Path, root: Path = ROOT, config: str = _CONFIG) -> Iterator[int]:
    """The real server on a free port, ready; that of the checkout `root`, with these settings."""
    (folder / "bench.toml").write_text(config)
    command = [sys.executable, "-m", "stream_reco.cli", "serve", "--data", str(folder / "data"), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--config", str(folder / "bench.toml")],
        cwd=root,
        env=environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)", process.stdout.readline())
        assert found, "the server did not start: what it said is above"
        port = int(found[1])
        wait_until(lambda: Client(port).ask("GET", "/health/ready")[0] == 200)
        yield port
    finally:
        process.terminate()
        process.wait(60)


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, route: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and answer."""
        self._connection.request(method, route, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def recommend(self, user: Id, k: int = 10) -> list[Id]:
        """The items of one slate."""
        body = json.dumps({"user_id": user, "k": k, "context": CONTEXT}).encode()
        status, answer = self.ask("POST", "/v1/recommend", body)
        assert status == 200, answer
        return [item["item_id"] for item in json.loads(answer)["items"]]

    def send(self, events: Sequence[Event]) -> None:
        """Events, durable when this returns."""
        status, answer = self.ask("POST", "/v1/events", b"[" + b",".join(map(encode, events)) + b"]")
        assert status == 200, answer


def events_of(client: Client) -> int:
    """Events accepted so far."""
    return int(json.loads(client.ask("GET", "/v1/status")[1])["events"])


def has_learned(client: Client) -> bool:
    """Whether all of them are learned from."""
    found = re.search(rb"^stream_reco_backlog_events ([\d.e+]+)", client.ask("GET", "/metrics")[1], re.MULTILINE)
    assert found, "there is no metric stream_reco_backlog_events"
    return float(found[1]) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Look ten times a second. Raises TimeoutError."""
    for _ in range(_READY_SECONDS * 10):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError(f"not within {_READY_SECONDS} s")
