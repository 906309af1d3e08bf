"""`serve`, `ingest` and `demo` as people run them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stream_reco.cli.app import main
from stream_reco.cli.demo.simulated_users import DemoScore, SimulatedUsers, demo_world
from stream_reco.cli.server.client import Client
from stream_reco.datasets import write_events
from stream_reco.metrics import REGISTRY
from stream_reco.simulate import generate
from stream_reco.storage.event_log import EventLog
from tests.programs import COMMAND, environ
from tests.waiting import until

ENVIRON = environ(COLUMNS="200")
T = 1_700_000_000_000
SHARES = ("share_of_oracle", "share_of_oracle_by_chance")


@contextmanager
def server(data: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server on a free port, ready."""
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0", "--sync-interval", "0.1", *more]
    process = subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found, process.communicate()[1]
        with httpx.Client(base_url=found[0], timeout=30) as client:
            until(lambda: client.get("/health/ready").status_code == 200, 200)
            yield process, client
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal and wait; returns what else it printed."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def test_what_is_ingested_is_served_and_survives_a_restart(tmp_path: Path) -> None:
    log, data = tmp_path / "log.jsonl", tmp_path / "shop"
    write_events(log, generate(500, 0, items=20))
    with server(data) as (process, client):
        command = [*COMMAND, "ingest", str(log), "--format", "events", "--url", str(client.base_url)]
        first, second, expected = (
            subprocess.run([*command, *more], env=ENVIRON, capture_output=True, text=True, check=False)
            for more in ([], [], ["--expect-duplicates"])
        )
        assert "500 events sent: 500 accepted, 0 duplicates, 0 rejected" in first.stdout
        assert "500 events sent: 0 accepted, 500 duplicates, 0 rejected" in second.stdout
        assert [first.returncode, second.returncode, expected.returncode] == [0, 1, 0]
        assert "500 of 500 events of log.jsonl had been taken before" in second.stderr
        assert "say --expect-duplicates" in second.stderr
        assert "warning: 500 of 500 events" in expected.stderr
        until(lambda: client.post("/v1/recommend", json={"user_id": "new", "k": 5}).json()["items"], 20)
        assert client.get("/v1/status").json()["events"] == 500
        assert "stream_reco_progressive_quality" in client.get("/metrics").text
        assert "everything is safe" in end(process, signal.SIGTERM)
    with server(data) as (process, client):
        assert client.get("/v1/status").json()["events"] == 500
        assert len(client.post("/v1/recommend", json={"user_id": "new", "k": 5}).json()["items"]) == 5
        what_is_disliked_leaves_and_comes_back(client)
        end(process, signal.SIGINT)


def what_is_disliked_leaves_and_comes_back(client: httpx.Client) -> None:
    """For the user who dislikes it, and only for that one."""

    def slate(user: str) -> list[object]:
        answer = client.post("/v1/recommend", json={"user_id": user, "k": 100}).json()
        return [item["item_id"] for item in answer["items"]]

    disliked = slate("ann")[0]
    action = {"type": "action", "user_id": "ann", "item_id": disliked, "action": "dislike", "event_id": "dislike"}
    assert client.post("/v1/events", json=[action]).json()["accepted"] == 1
    until(lambda: disliked not in slate("ann"), 20)
    assert disliked in slate("ben")
    score = client.post("/v1/score", json={"user_id": "ann", "item_ids": [disliked]})
    assert score.status_code == 200
    assert client.post("/v1/events", json=[{"type": "retraction", "retracts": "dislike"}]).json()["accepted"] == 1
    until(lambda: disliked in slate("ann"), 20)


def test_a_damaged_log_is_refused_until_its_loss_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "shop"
    with EventLog(data / "log") as log:
        log.append_many([("tick", b"%d" % (T + n)) for n in range(50)])
    with (data / "log" / "log.sqlite3").open("r+b") as file:
        file.truncate(4096)
    assert misused(["serve", "--data", str(data), "--port", "0"], monkeypatch) == 1
    assert "go on with what can still be read: --accept-loss" in " ".join(capsys.readouterr().err.split())
    with server(data, "--accept-loss") as (process, client):
        assert client.get("/v1/status").json()["log_position"] > 50, "positions go on"
        # None of the 50 records could be read: which there were is not known, only up to where they went.
        assert "stream_reco_log_lost_records_total" in client.get("/metrics").text
        end(process, signal.SIGTERM)


def test_a_server_that_is_stopped_while_it_gets_ready_ends_well(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--data", str(tmp_path), "--port", "0"],
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "Getting ready" in process.stdout.readline()
    end(process, signal.SIGTERM)


def test_the_demo_ends_by_itself_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--port", "0", "--seconds", "3"],
        env=ENVIRON | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"([\d,]+) slates, ([\d,]+) events", done.stdout)
    assert found, done.stdout
    assert int(found[1].replace(",", "")) > 5
    assert int(found[2].replace(",", "")) > 300
    shares = re.search(r"served \((\d+)% of the best possible\), [\d.]+ at random \((\d+)%\)", done.stdout)
    assert shares, done.stdout
    # The first slates come before the first items are served.
    assert 0 <= int(shares[1]) <= 100
    assert 0 < int(shares[2]) < 100
    # torch keeps a cache of its own there
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torch")]
    assert left == []


def misused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-reco", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_port_in_use_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert misused(["serve", "--data", str(tmp_path), "--port", port], monkeypatch) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_folder_in_use_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stream_reco.embedded.journal.recovery import Storage

    storage = Storage(tmp_path)
    assert misused(["serve", "--data", str(tmp_path), "--port", "0"], monkeypatch) == 1
    storage.close()
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_a_folder_that_is_none_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert misused(["serve", "--data", str(tmp_path / "file"), "--port", "0"], monkeypatch) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_nobody_else_may_reach_a_server_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert misused(["serve", "--data", str(tmp_path), "--host", "0.0.0.0", "--port", "0"], monkeypatch) == 2
    assert "STREAM_RECO_SERVE_TOKEN" in capsys.readouterr().err


class ToyServer(Client):
    """Recommends the first items of the world; keeps what is posted."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.posted: list[dict[str, object]] = []
        self.asked = 0

    def post(self, route: str, body: bytes) -> object:
        content = json.loads(body)
        if route == "/v1/events":
            self.posted += content
            return {"accepted": len(content), "duplicates": 0, "rejected": []}
        self.asked += 1
        items = [{"item_id": item, "score": 0.5, "source": "toy"} for item in range(content["k"])]
        return {"request_id": f"r{self.asked}", "version": 1, "items": items}


def test_the_people_of_the_demo_do_everything_in_its_time() -> None:
    toy = ToyServer()
    people = SimulatedUsers(demo_world(0, T), toy)
    for now in range(T, T + 30_000, 500):
        before = len(toy.posted)
        people.step(now)
        for event in toy.posted[before:]:
            timestamp = event["timestamp"]
            assert isinstance(timestamp, int)
            assert now - 500 < timestamp <= now
    kinds = [event["type"] for event in toy.posted]
    assert kinds.count("item") >= 300
    assert {one["user_id"] for one in toy.posted if one["type"] == "user"} == set(range(300))
    assert kinds.count("impression") == 10 * toy.asked > 0
    impressions = {(one["request_id"], one["item_id"]) for one in toy.posted if one["type"] == "impression"}
    actions = [one for one in toy.posted if one["type"] == "action"]
    assert actions
    assert {(one["request_id"], one["item_id"]) for one in actions} <= impressions
    ids = [event["event_id"] for event in toy.posted]
    assert len(set(ids)) == len(ids) == people.sent.accepted
    served, by_chance, best = people.score.means()
    assert 0 < served < best
    assert 0 < by_chance < best
    gauges = {name: REGISTRY.get_sample_value("stream_reco_progressive_quality", {"metric": name}) for name in SHARES}
    assert gauges == pytest.approx({SHARES[0]: served / best, SHARES[1]: by_chance / best})


def test_scores_are_means() -> None:
    score = DemoScore()
    assert score.means() == (0.0, 0.0, 0.0)
    assert score.shares() == (0.0, 0.0)
    score.add(1.0, 0.5, 2.0)
    score.add(2.0, 0.5, 4.0)
    assert score.means() == (1.5, 0.5, 3.0)
    assert list(score.shares()) == pytest.approx([0.5, 1 / 6])
    assert score.in_words() == ("1.500 served (50% of the best possible), 0.500 at random (17%), 3.000 best possible")
    assert score.requests == 2
