"""`serve --redis` as people run it: a process of its own that follows a trainer over a real Redis."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from stream_reco.cli.app import main
from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.embedded.user_context import user_contexts
from stream_reco.events import Event, Id
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.serve.settings import ServeSettings, SlateSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.signals.shown_items import ShownItems
from stream_reco.simulate import generate
from stream_reco.sync import ChannelRefused, ChannelUnreachable, Precision
from stream_reco.sync.redis.channel import RedisChannel
from tests.programs import COMMAND, environ
from tests.redis_server import RedisServer
from tests.waiting import until

SECRET = "no password of anybody"  # noqa: S105 - of a server that lives for these tests
PRECISION: Precision = "tanh8"
ENVIRON = environ(
    STREAM_RECO_REDIS_PASSWORD=SECRET, STREAM_RECO_SERVE_ROW_PRECISION=PRECISION, STREAM_RECO_SLATE_EXPLORE="0"
)
SERVE = [*COMMAND, "serve", "--port", "0"]


class Trainer:
    """The embedded learner, publishing over Redis; with the scorer beside it that ours is held against."""

    def __init__(self, url: str, log: list[Event]) -> None:
        self.settings = replace(
            Settings(), serve=ServeSettings(row_precision=PRECISION), slate=SlateSettings(explore=0.0)
        )
        self.link = RedisLink(url, password=SECRET)
        self.learner = Learner(self.settings)
        self.users = RedisUsers(self.link)
        self.publishing = Publishing(self.learner, self.settings, 1, RedisChannel(self.link))
        seed, served = self.settings.training.seed, self.publishing.served
        users = user_contexts(self.learner, seed)
        self.scorer = Scorer(served, users, self.settings.retrieve, self.settings.slate, seed)
        self._log = iter(log)

    def learn(self, count: int) -> None:
        self.learner.learn([event for event, _ in zip(self._log, range(count), strict=False)])

    def write_users(self) -> None:
        """What the topology `interests` does."""
        learner, state = self.learner, self.learner.state
        states: dict[int | str, bytes] = {}
        for user in state.histories.users():
            slots, times = state.histories.whole(state.histories.row_of(user), state.stream_time)
            keys = state.signals.catalogue.keys[slots]
            medoids = learner.interests.medoids(user, state.stream_time)
            shown, passed_over = ShownItems(), state.exposures.of(user)
            shown.items.extend(state.signals.catalogue.keys[passed_over.slots].tolist())
            shown.counts.extend(passed_over.counts.tolist())
            shown.times.extend(passed_over.times.tolist())
            states[user] = UserState(keys, times, medoids, state.stream_time, shown=shown).to_bytes()
        self.users.put_many(states)
        self.users.put_numbered({}, "0", self.users.ages("0"), 1)

    def publish(self) -> int:
        return self.publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge

    def slate(self, request: Request) -> list[tuple[Id, str]]:
        (slate,) = self.scorer.recommend_many([request], self.learner.state.stream_time)
        return [(item.item_id, item.source) for item in slate.items]


@dataclass
class Scene:
    server: RedisServer
    trainer: Trainer
    process: subprocess.Popen[str]
    client: httpx.Client

    def both(self, user: Id, k: int = 10) -> tuple[list[tuple[Id, str]], list[tuple[Id, str]]]:
        """The trainer's slate and the scorer's; always asked for together, for chance to run alike."""
        answer = self.client.post("/v1/recommend", json={"user_id": user, "k": k})
        assert answer.status_code == 200, answer.text
        got = [(item["item_id"], item["source"]) for item in answer.json()["items"]]
        return self.trainer.slate(Request(user, k)), got

    def version(self) -> int:
        version: int = self.client.get("/v1/status").json()["version"]
        return version

    def follow(self) -> int:
        """Publish, and wait until the scorer serves it."""
        version = self.trainer.publish()
        until(lambda: self.version() == version, 20)
        return version


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A trainer, and a scorer that was started before there was anything to follow."""
    log = list(generate(9_000, 0, users=40, items=60))
    with RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", SECRET) as server:
        process = subprocess.Popen(
            [*SERVE, "--redis", server.url], env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.:]+", process.stdout.readline())
            assert found, process.communicate()[1]
            with httpx.Client(base_url=found[0], timeout=30) as client:
                trainer = Trainer(server.url, log)
                assert client.get("/health/ready").status_code == 503
                trainer.learn(3_000)
                trainer.write_users()
                trainer.publish()
                until(lambda: client.get("/health/ready").status_code == 200, 200)
                yield Scene(server, trainer, process, client)
        finally:
            process.kill()
            process.communicate()


pytestmark = [pytest.mark.redis, pytest.mark.timeout(400)]


def test_its_slates_are_those_of_the_loop_in_one_process(scene: Scene) -> None:
    for _ in range(3):
        scene.trainer.learn(500)
        scene.trainer.write_users()
        scene.follow()
        users = [*scene.trainer.learner.state.histories.users()[:40], "stranger", -7]
        for user in users:
            trainers, ours = scene.both(user)
            assert len(ours) == 10
            assert ours == trainers, user
        assert len({str(scene.both(user)[1]) for user in users}) > 10
    status = scene.client.get("/v1/status").json()
    assert status["items"] == len(scene.trainer.learner.state.signals.catalogue)
    assert status["stream_time"] == scene.trainer.learner.state.stream_time
    tables = {name: len(table) for name, table in scene.trainer.learner.queue.trainer.tables.items()}
    assert (status["rows"], status["tables"]) == (sum(tables.values()), tables)
    assert status["staleness_seconds"] < 60


def test_its_rows_are_kept_in_the_precision_that_was_set(scene: Scene) -> None:
    scene.follow()
    metrics = scene.client.get("/metrics").text
    for name, table in scene.trainer.publishing.served.replica.tables.items():
        assert table.precision == PRECISION
        told = re.search(rf'stream_reco_table_bytes{{table="{name}"}} (\S+)', metrics)
        assert told
        assert float(told[1]) == table.nbytes


def test_a_users_last_action_counts_at_once_between_two_versions(scene: Scene) -> None:
    scene.follow()
    seen = scene.both("stranger", 3)[1][0][0]
    user = "fresh face"
    version = scene.version()
    learner, learned = scene.trainer.learner, scene.trainer.learner.state
    keys = learned.signals.catalogue.keys[[learned.signals.catalogue.slot_of(seen)]]
    nobody = learner.interests.medoids(user, learned.stream_time)
    state = UserState(keys, keys * 0 + learned.stream_time, nobody, learned.stream_time)
    scene.trainer.users.put_many({user: state.to_bytes()})
    answer = scene.client.post("/v1/recommend", json={"user_id": user, "k": 60}).json()
    assert seen not in [item["item_id"] for item in answer["items"]]
    assert answer["version"] == version


def test_no_request_fails_while_redis_is_away_and_all_goes_on_after(scene: Scene) -> None:
    scene.follow()
    user = scene.trainer.learner.state.histories.users()[0]
    trainers, ours = scene.both(user)
    assert ours == trainers
    problems: list[str] = []
    answers = 0
    done = threading.Event()

    def ask() -> None:
        nonlocal answers
        with httpx.Client(base_url=scene.client.base_url, timeout=5) as client:
            while not done.is_set():
                answer = client.post("/v1/score", json={"user_id": user, "item_ids": [1, 2, 3]})
                answers += 1
                if answer.status_code != 200 or answer.elapsed.total_seconds() > 2:
                    problems.append(f"{answer.status_code} after {answer.elapsed}: {answer.text}")
                time.sleep(0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for way, back in (("kill", "start"), ("pause", "resume")):
            before = scene.version()
            getattr(scene.server, way)()
            time.sleep(1.5)
            scene.trainer.learn(50)
            with pytest.raises((ChannelRefused, ChannelUnreachable)):
                scene.trainer.publish()
            assert scene.version() == before
            trainers, ours = scene.both(user)
            assert ours
            getattr(scene.server, back)()
            assert scene.follow() > before
            scene.trainer.write_users()
            until(lambda: not scene.client.get("/v1/status").json()["users_away"], 10)
    finally:
        done.set()
        asking.join()
    assert not problems
    assert answers > 100
    trainers, ours = scene.both("stranger")
    assert ours == trainers


def test_a_flush_is_made_good_by_the_next_publication(scene: Scene) -> None:
    scene.follow()
    with RedisLink(scene.server.url, password=SECRET) as link:
        link.call("FLUSHALL")
    assert scene.client.post("/v1/recommend", json={"user_id": "x", "k": 3}).status_code == 200
    scene.trainer.learn(20)
    scene.follow()
    scene.follow()


def test_events_are_not_taken_without_kafka(scene: Scene) -> None:
    event = {"type": "action", "user_id": 1, "item_id": 1, "action": "click", "timestamp": 1_700_000_000_000}
    answer = scene.client.post("/v1/events", json=[event])
    assert answer.status_code == 501
    assert "kafka.bootstrap" in answer.text


def test_it_ends_well_and_nobody_waits_for_it_any_more_and_no_password_was_shown(scene: Scene) -> None:
    with RedisLink(scene.server.url, password=SECRET) as link:
        until(lambda: len(link.call("SMEMBERS", "{stream-reco}:replicas")) == 1, 10)
        scene.process.send_signal(signal.SIGTERM)
        output, errors = scene.process.communicate(timeout=30)
        assert scene.process.returncode == 0, errors
        assert "Traceback" not in errors
        assert "Stopped" in output
        assert SECRET not in output + errors
        assert not link.call("SMEMBERS", "{stream-reco}:replicas")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give --data DIR"),
        (["--data", "x", "--redis", "redis://h"], "give only one of them"),
        (["--redis", "redis://h", "--sync-interval", "2"], "the trainer decides"),
        (["--redis", "redis://h", "--accept-loss"], "--accept-loss needs --data"),
        (["--redis", "http://:pa55@h"], "no address of Redis"),
        (["--redis", "redis://:pa55@h/one"], "number of a database"),
    ],
)
def test_what_makes_no_sense_is_told(
    arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        if name.startswith("STREAM_RECO_REDIS"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["stream-reco", "serve", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert why in told
    assert "pa55" not in told
