"""A scorer that follows a trainer: when it is ready, what it answers, what it does without trainer, Redis or Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import httpx
import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.events import Event, Id, key_of
from stream_reco.interests import InterestSettings, Medoids
from stream_reco.redis.user_store import StoredUser
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.replica.service import EventSink, ReplicaService
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.replica.user_state import UserState
from stream_reco.serve.service import Accepted, UnavailableError
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.settings import SignalSettings
from stream_reco.sync import ChannelUnreachable, Delivery, InProcessChannel
from tests.serve.small_shop import CERTAIN, MODEL, NOW, SmallShop
from tests.serve.status_shape import check_status
from tests.waiting import until

LATENESS = 60_000
_COMPILING = 120.0
"""Seconds; whoever uses a kernel first after a change of its source compiles it."""


class MoodyChannel(InProcessChannel):
    """Fails as told."""

    mood = ""
    reads = 0

    def read(self, after: str, limit: int) -> list[Delivery]:
        self.reads += 1
        if self.mood == "away":
            raise ChannelUnreachable("away")
        if self.mood == "broken":
            raise ValueError("broken")
        return super().read(after, limit)


class Store(dict[Id, bytes]):
    """States of users."""

    source = "redis"

    def get(self, user: Id) -> StoredUser:  # type: ignore[override] # a store of users, that happens to be a dict
        return StoredUser(super().get(user), True)


class Sink:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.forgotten: list[Id] = []
        self.fails = False

    async def accept(self, events: Sequence[Event]) -> Accepted:
        if self.fails:
            raise UnavailableError("kafka", "no broker answers", 3)
        self.events += events
        return Accepted(len(events), 0)

    async def forget(self, user_id: Id) -> None:
        self.forgotten.append(user_id)


class Scene:
    """A trainer, a channel and a scorer behind its API."""

    def __init__(self, sink: EventSink | None, prepare: Callable[[], None]) -> None:
        self.shop = SmallShop()
        self.shop.channel = self.channel = MoodyChannel()
        self.served = ServingState(MODEL, SignalSettings())
        self.store = Store()
        self.users = RemoteUserContexts(self.served, self.store, InterestSettings())
        scorer = Scorer(self.served, self.users, RetrieveSettings(), CERTAIN, 0)
        self.clock = ManualClock(NOW + 5_000)
        self.service = ReplicaService(
            self.served,
            scorer,
            self.users,
            self.channel,
            lateness_ms=LATENESS,
            now_ms=self.clock.now_ms,
            prepare=prepare,
            sink=sink,
            poll_seconds=0.01,
        )
        self.server = HttpServer("127.0.0.1", 0)
        self.server.start(Api(self.service, self.clock, ServeSettings()))
        self.client = httpx.Client(base_url=self.server.url, timeout=_COMPILING)
        self.service.start()

    def publish(self) -> int:
        return self.shop.sync()

    def slate(self, user: Id = "new") -> list[Id]:
        answer = self.client.post("/v1/recommend", json={"user_id": user, "k": 5})
        assert answer.status_code == 200, answer.text
        return [item["item_id"] for item in answer.json()["items"]]

    def status(self) -> dict[str, object]:
        facts: dict[str, object] = self.client.get("/v1/status").json()
        check_status(facts)
        return facts

    def until_version(self, version: int) -> None:
        until(lambda: self.status()["version"] == version, _COMPILING)

    def close(self) -> None:
        self.client.close()
        self.server.stop()
        self.service.close()


Play = Callable[..., Scene]


@pytest.fixture
def play() -> Iterator[Play]:
    scenes: list[Scene] = []

    def begin(sink: EventSink | None = None, prepare: Callable[[], None] = lambda: None) -> Scene:
        scenes.append(Scene(sink, prepare))
        return scenes[-1]

    yield begin
    for scene in scenes:
        scene.close()


def test_it_is_ready_once_a_first_version_has_come(play: Play) -> None:
    scene = play()
    until(lambda: scene.channel.reads > 2, _COMPILING)
    assert scene.client.get("/health/live").status_code == 200
    assert scene.client.get("/health/ready").status_code == 503
    assert scene.client.post("/v1/recommend", json={"user_id": 1, "k": 1}).json()["error"]["reason"] == "not_ready"
    status = scene.status()
    assert (status["state"], status["version"], status["staleness_seconds"]) == ("starting", 0, None)
    scene.shop.act("ann", 7)
    scene.publish()
    until(lambda: scene.client.get("/health/ready").status_code == 200, _COMPILING)
    assert scene.slate() == [7]
    status = scene.status()
    assert (status["state"], status["version"], status["epoch"]) == ("ready", 1, 3)
    assert status["staleness_seconds"] == 5.0
    assert status["items"] == 1


def test_its_examples_are_the_trainers_as_of_the_version_served(play: Play) -> None:
    scene = play()
    until(lambda: scene.channel.reads > 2)
    assert scene.status()["examples"] == 0
    for version, examples in enumerate((70, 71, None), start=1):
        scene.shop.examples = examples
        scene.publish()
        scene.until_version(version)
        assert scene.status()["examples"] == examples


def test_python_is_refused_what_http_is_refused(play: Play) -> None:
    scene = play()
    scene.shop.act("ann", 7)
    scene.publish()
    scene.until_version(1)
    many = scene.client.post("/v1/recommend", json={"user_id": "ann", "k": 10_000})
    assert many.status_code == 400
    with pytest.raises(RefusedError) as caught:
        scene.service.recommend_many([Request("ann", 5), Request("ann", 10_000)])
    assert {"reason": caught.value.reason, "message": str(caught.value)} == many.json()["error"]
    with pytest.raises(RefusedError, match="item_ids"):
        scene.service.score("ann", [1] * 100_000)
    assert len(scene.service.score("ann", [7])) == 1


def test_newer_versions_come_by_themselves(play: Play) -> None:
    scene = play()
    for item in range(4):
        scene.shop.act("ann", item)
        scene.publish()
        scene.until_version(item + 1)
        assert sorted(map(int, scene.slate())) == list(range(item + 1))
    observed = metrics.REGISTRY.get_sample_value("stream_reco_replica_sync_seconds_count")
    assert observed is not None
    assert observed >= 1


def test_it_answers_as_the_scorer_beside_the_trainer_does(play: Play) -> None:
    scene = play()
    for item in range(6):
        scene.shop.act("ann", item)
    scene.shop.train(list(range(6)))
    scene.publish()
    until(scene.service.ready, _COMPILING)
    items = np.array([key_of(item, "item") for item in (5, 4, 3, 2, 1, 0)])
    interests = Medoids(items[:2], np.array([2.0, 1.0]), np.full(2, NOW))
    scene.store["ann"] = UserState(items, np.full(6, NOW), interests, NOW).to_bytes()
    scene.shop.medoids["ann"] = items[:2].tolist()
    assert scene.slate("ann") == []  # all of it was seen
    scores = scene.client.post("/v1/score", json={"user_id": "ann", "item_ids": [0, 5, "none"]}).json()["scores"]
    assert 0 < scores[0] < 1
    assert 0 < scores[2] < 1  # an item that nothing is known of yet
    near = scene.client.get("/v1/items/3/similar?k=2").json()["items"]
    assert len(near) == 2
    assert scene.client.get("/v1/items/none/similar").status_code == 404
    told = scene.client.get("/v1/users/ann/interests").json()["interests"]
    assert [one["item_id"] for one in told] == [5, 4]
    assert told[0]["importance"] == pytest.approx(2.0, rel=0.01)
    assert scene.client.get("/v1/users/nobody/interests").json()["interests"] == []


def test_stream_time_is_the_trainers_or_the_newest_action(play: Play) -> None:
    scene = play()
    assert scene.service.stream_time == 0
    scene.shop.act("ann", 1)
    scene.publish()
    until(scene.service.ready, _COMPILING)
    assert scene.service.stream_time == NOW + LATENESS  # the shop says NOW is its watermark
    keys = np.array([key_of(1, "item")])
    nothing = Medoids(keys[:0], np.empty(0), keys[:0])
    scene.store["bob"] = UserState(keys, np.array([NOW + LATENESS + 9]), nothing, NOW).to_bytes()
    scene.slate("bob")
    assert scene.service.stream_time == NOW + LATENESS + 9


@pytest.mark.parametrize("mood", ["away", "broken"])
def test_whatever_the_channel_does_it_answers_and_goes_on(
    play: Play, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_reco.serve.replica.service._AFTER_FAILURE_SECONDS", 0.05)
    scene = play()
    scene.shop.act("ann", 1)
    scene.publish()
    until(scene.service.ready, _COMPILING)
    scene.channel.mood = mood
    reads = scene.channel.reads
    until(lambda: scene.channel.reads > reads + 2, _COMPILING)
    assert scene.slate() == [1]
    assert scene.status()["state"] == "ready"
    assert (scene.status()["problem"] is not None) == (mood == "broken")
    assert scene.status()["channel_away"] == (mood == "away")
    scene.channel.mood = ""
    scene.shop.act("ann", 2)
    scene.publish()
    scene.until_version(2)
    assert sorted(map(int, scene.slate())) == [1, 2]
    assert (scene.status()["problem"], scene.status()["channel_away"]) == (None, False)


def test_where_getting_ready_fails_that_is_told(play: Play) -> None:
    def fail() -> None:
        raise ValueError("no kernels")

    scene = play(prepare=fail)
    with pytest.raises(ValueError, match="no kernels"):
        scene.service.opened.result(10)
    assert scene.status()["state"] == "failed"
    assert scene.client.get("/health/ready").status_code == 503


EVENT = {"type": "action", "user_id": "ann", "item_id": 1, "action": "click", "timestamp": NOW}


def test_without_a_place_for_events_the_setting_is_named(play: Play) -> None:
    scene = play()
    scene.shop.act("ann", 1)
    scene.publish()
    until(scene.service.ready, _COMPILING)
    for answer in (scene.client.post("/v1/events", json=[EVENT]), scene.client.delete("/v1/users/ann")):
        assert answer.status_code == 501
        assert answer.json()["error"]["reason"] == "kafka"
        assert "kafka.bootstrap" in answer.json()["error"]["message"]
    schema = scene.client.get("/schema").json()["paths"]
    assert "501" in schema["/v1/events"]["post"]["responses"]
    assert "501" in schema["/v1/users/{id}"]["delete"]["responses"]


def test_events_go_to_the_sink(play: Play) -> None:
    sink = Sink()
    scene = play(sink)
    scene.shop.act("ann", 1)
    scene.publish()
    until(scene.service.ready, _COMPILING)
    answer = scene.client.post("/v1/events", json=[EVENT, {"type": "none"}, EVENT])
    assert (answer.json()["accepted"], len(answer.json()["rejected"])) == (2, 1)
    assert len(sink.events) == 2
    assert scene.status()["events"] == 2
    sink.fails = True
    refused = scene.client.post("/v1/events", json=[EVENT])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "3")


def test_a_user_is_forgotten_by_the_sink_and_here(play: Play) -> None:
    sink = Sink()
    scene = play(sink)
    for item in (1, 2):
        scene.shop.act("ann", item)
    scene.publish()
    until(scene.service.ready, _COMPILING)
    keys = np.array([key_of(1, "item")])
    nothing = Medoids(keys[:0], np.empty(0), keys[:0])
    scene.store["ann"] = UserState(keys, np.array([NOW]), nothing, NOW).to_bytes()
    assert scene.slate("ann") == [2]
    del scene.store["ann"]
    scene.users.away = True
    scene.users._retry_at = float("inf")
    assert scene.slate("ann") == [2]
    assert scene.client.delete("/v1/users/ann").status_code == 200
    assert sink.forgotten == ["ann"]
    assert sorted(map(int, scene.slate("ann"))) == [1, 2]
