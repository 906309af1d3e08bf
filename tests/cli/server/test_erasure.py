"""A user who is deleted over HTTP leaves the data folder of a running server, and nobody else notices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from stream_reco.events import Event, Id
from tests.embedded.traces import MARK, NUMBERS, marked_events, other_events, traces
from tests.programs import COMMAND, environ, settings
from tests.waiting import until

START = 1_700_000_000_000
"""Long ago: time is not live, so that nothing but what is posted moves it."""
CERTAIN = settings(SLATE_EXPLORE="0")
OFTEN = environ(**CERTAIN, **settings(TRAINING_CHECKPOINT_MINUTES="0.01"))


@contextmanager
def server(data: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0", "--sync-interval", "0.1"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found
        assert "Ready" in process.stdout.readline()
        with httpx.Client(base_url=found[0], timeout=30) as client:
            yield client
        # Nothing is written at the end: what is on the disk was there while it ran.
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


def post(client: httpx.Client, events: list[Event]) -> None:
    answer = client.post("/v1/events", content=msgspec.json.encode(events))
    assert answer.json()["accepted"] == len(events)
    until(lambda: client.get("/v1/status").json()["backlog"] == 0, 60)


def slates(client: httpx.Client) -> list[list[tuple[Id, float]]]:
    bodies = [{"user_id": user, "k": 12, "context": {"device": "phone"}} for user in range(20)]
    answers = [client.post("/v1/recommend", json=body).json()["items"] for body in bodies]
    return [[(one["item_id"], one["score"]) for one in items] for items in answers]


@pytest.mark.parametrize("user", [f"{MARK}-user", NUMBERS["user"]])
def test_a_deleted_user_leaves_the_folder_of_a_running_server(tmp_path: Path, user: Id) -> None:
    with server(tmp_path, OFTEN) as client:
        post(client, other_events(START))
        until(lambda: any(tmp_path.glob("checkpoints/checkpoint-*1")), 60)
        post(client, marked_events(START + 30_000, user, numbers=isinstance(user, int)))
        until(lambda: any(tmp_path.glob("checkpoints/checkpoint-*2")), 60)
        time.sleep(0.5)
        before = slates(client)
        assert any("checkpoint-" in one for one in traces(tmp_path, user))
        version = client.get("/v1/status").json()["version"]
        assert client.delete(f"/v1/users/{user}").json()["deleted"]
        until(lambda: not _marked(tmp_path), 60)
        until(lambda: client.get("/v1/status").json()["version"] > version, 60)
        assert slates(client) == before
    assert traces(tmp_path, user) == []
    with server(tmp_path, environ(**CERTAIN)) as client:
        assert slates(client) == before
        assert client.get("/v1/status").json()["users"] == 20
    assert traces(tmp_path, user) == []


def _marked(folder: Path) -> bool:
    """Whether the log, which is cut last, still has the mark."""
    return any(MARK.encode() in path.read_bytes() for path in (folder / "log").iterdir())
