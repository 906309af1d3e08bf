"""A real server of several processes, of which one after the other is killed, stopped or hangs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.running_server import Client
from tests.programs import COMMAND, environ
from tests.waiting import until

USERS, ITEMS, CLICKS = 9, 30, 300
START = 1_790_000_000_000


class Processes:
    """A server with two scorers, its processes, and a client."""

    def __init__(self, data: Path) -> None:
        command = [*COMMAND, "serve", "--data", str(data), "--port", "0", "--sync-interval", "0.2"]
        self.data = data
        two = environ() | {"STREAM_RECO_SERVE_WORKERS": "2"}
        self.parent = subprocess.Popen(command, env=two, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.parent.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", self.parent.stdout.readline())
        assert found
        self.port = int(found[1])
        assert "Ready" in self.parent.stdout.readline()

    @property
    def children(self) -> list[psutil.Process]:
        """The learner and the scorers, oldest first."""
        return sorted(psutil.Process(self.parent.pid).children(), key=lambda one: one.create_time())

    @property
    def shared(self) -> Path:
        """The folder of what the processes share."""
        locks = [Path(one.path) for one in psutil.Process(self.parent.pid).open_files() if one.path.endswith("/lock")]
        assert len(locks) == 1
        return locks[0].parent

    @property
    def learner(self) -> psutil.Process:
        return next(one for one in self.children if _has_log(one))

    @property
    def scorers(self) -> list[psutil.Process]:
        return [one for one in self.children if not _has_log(one)]

    def ask(self, method: str, route: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer, over a connection of its own."""
        status, answer = Client(self.port).ask(method, route, None if body is None else json.dumps(body).encode())
        return status, json.loads(answer)

    def click(self, user: str, item: str, at: int) -> int:
        """Send one click; returns the status."""
        event = {"type": "action", "user_id": user, "item_id": item, "action": "click", "timestamp": at}
        return self.ask("POST", "/v1/events", [event | {"event_id": f"{user} {item} {at}"}])[0]

    def slate(self, user: str) -> list[str]:
        """Items for a user."""
        status, answer = self.ask("POST", "/v1/recommend", {"user_id": user, "k": 5})
        assert status == 200, answer
        return [one["item_id"] for one in answer["items"]]

    def value(self, name: str, **labels: str) -> float:
        """Of a metric, over all processes."""
        text = Client(self.port).ask("GET", "/metrics")[1].decode()
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        assert not any("pid" in one.labels for one in samples)
        return sum(one.value for one in samples if one.name == name and one.labels == labels)

    def ready(self) -> Any:
        return self.ask("GET", "/health/ready")

    def stop(self) -> str:
        """End it as a service manager does; returns what it logged."""
        self.parent.terminate()
        _, errors = self.parent.communicate(timeout=30)
        assert self.parent.returncode == 0
        return errors


def _has_log(process: psutil.Process) -> bool:
    return any(one.path.endswith("log.sqlite3") for one in process.open_files())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    server = Processes(tmp_path_factory.mktemp("data"))
    for number in range(CLICKS):
        assert server.click(f"u{number % USERS}", f"i{number * number % ITEMS}", START + number) == 200
    until(lambda: server.ask("GET", "/v1/status")[1]["backlog"] == 0, 30)
    until(lambda: len(server.slate("stranger")) == 5, 10)
    yield server
    if server.parent.poll() is None:
        server.parent.kill()


def restarts(server: Processes, process: str) -> float:
    return server.value("stream_reco_process_restarts_total", process=process)


def test_all_processes_count_as_one_server(started: Processes) -> None:
    assert len(started.children) == 3
    assert started.value("stream_reco_events_accepted_total", type="action") == CLICKS
    before = started.value("stream_reco_requests_total", route="/v1/recommend", status="200")
    for _ in range(20):
        started.slate("u1")
    assert started.value("stream_reco_requests_total", route="/v1/recommend", status="200") == before + 20
    assert started.value("process_resident_memory_bytes") > 50_000_000


def test_ones_own_click_is_out_of_ones_slate_within_50_ms(started: Processes) -> None:
    for number in range(10):
        shown = started.slate("me")
        assert started.click("me", shown[0], START + CLICKS + number) == 200
        sent = time.monotonic()
        while shown[0] in started.slate("me"):
            assert time.monotonic() - sent < 1.0
        assert time.monotonic() - sent < 0.25, "50 ms on a machine that does nothing else"


def test_a_killed_learner_is_started_again_while_scorers_answer(started: Processes) -> None:
    events, before = started.ask("GET", "/v1/status")[1]["events"], restarts(started, "learner")
    started.learner.kill()
    answers, problems, taken = 0, set(), 503
    until(lambda: started.ready()[1].get("problem") is not None, 10)
    while taken != 200:
        assert len(started.slate("u1")) == 5
        answers += 1
        problems.add(started.ready()[1].get("problem"))
        taken = started.click("u1", "late", START + 2 * CLICKS)
        assert taken in (200, 503)
    assert answers > 1
    assert any("learner" in one for one in problems if one)
    until(lambda: started.ready() == (200, {"ready": True}), 30)
    assert started.ask("GET", "/v1/status")[1]["events"] == events + 1
    assert restarts(started, "learner") == before + 1


def test_a_learner_that_hangs_is_named(started: Processes) -> None:
    learner = started.learner
    learner.send_signal(signal.SIGSTOP)
    try:
        time.sleep(1.5)
        assert len(started.slate("u2")) == 5
        assert started.value("stream_reco_learner_silent_seconds") > 1.0
    finally:
        learner.send_signal(signal.SIGCONT)
    until(lambda: started.value("stream_reco_learner_silent_seconds") < 1.0, 10)


def test_a_killed_scorer_is_started_again_and_what_it_counted_stays(started: Processes) -> None:
    before = started.value("stream_reco_requests_total", route="/v1/recommend", status="200")
    for one in started.scorers:
        one.kill()
        until(lambda: len(started.scorers) == 2 and _answers(started), 30)
    until(lambda: restarts(started, "scorer") >= 2, 10)
    assert started.value("stream_reco_requests_total", route="/v1/recommend", status="200") >= before
    until(lambda: len(started.slate("u3")) == 5, 10)


def _answers(server: Processes) -> bool:
    try:
        return bool(server.ready()[0] == 200)
    except OSError:
        return False


def test_deleted_users_are_gone_from_all_processes(started: Processes) -> None:
    until(lambda: started.click("somebody", "i1", START + 3 * CLICKS) == 200, 30)
    until(lambda: started.ask("GET", "/v1/users/somebody/interests")[1]["interests"] != [], 10)
    assert started.ask("DELETE", "/v1/users/somebody")[0] == 200
    until(lambda: started.ask("GET", "/v1/users/somebody/interests")[1]["interests"] == [], 10)


def test_a_stop_leaves_nothing_behind_but_the_folder(started: Processes) -> None:
    data = started.data
    shared = started.shared
    errors = started.stop()
    assert "Traceback" not in errors
    assert not shared.exists()
    assert {one.name for one in data.iterdir()} == {"checkpoints", "labels", "log"}


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    server = Processes(tmp_path)
    assert server.click("u", "i", START) == 200
    shared, children = server.shared, server.children
    server.parent.kill()
    _, alive = psutil.wait_procs(children, 30)
    assert alive == []
    assert shared.exists()
    again = Processes(tmp_path)
    assert again.ask("GET", "/v1/status")[1]["events"] == 1
    assert not shared.exists(), "what a killed server left is removed by the next start"
    again.stop()


def test_a_folder_in_use_is_refused_with_one_sentence(tmp_path: Path) -> None:
    server = Processes(tmp_path)
    command = [*COMMAND, "serve", "--data", str(tmp_path), "--port", "0"]
    second = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert str(server.learner.pid) in second.stderr
    server.stop()


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*COMMAND, "serve", "--data", str(tmp_path), "--port", str(taken.getsockname()[1])]
        ended = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr
    assert list(tmp_path.iterdir()) == []
