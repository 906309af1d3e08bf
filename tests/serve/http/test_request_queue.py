"""The queue of requests that are computed: order, bounds, clients that have gone, errors, and the server around it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.clock import ManualClock
from stream_reco.events import Id
from stream_reco.metrics import REGISTRY
from stream_reco.serve.http import request_queue
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.messages import DisconnectedError, HttpError, HttpRequest, Message, Scope
from stream_reco.serve.http.request_queue import PRESSURE_SECONDS, SLATES_AT_ONCE, RequestQueue, has_gone
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Slate
from tests.waiting import until

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

STEP = 0.01


@dataclass
class Client:
    """One that waits for its answer, until it goes."""

    gone: bool = False

    async def receive(self) -> Message:
        if not self.gone:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.disconnect"}


@dataclass
class World:
    """A queue over a scorer that takes `STEP` seconds of a clock of its own, and refuses the users of `bad`."""

    settings: ServeSettings = field(default_factory=ServeSettings)
    bad: frozenset[Id] = frozenset()
    now: float = 0.0
    portions: list[list[Id]] = field(default_factory=list)
    answers: dict[Id, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = RequestQueue(self.slates, self.settings, lambda: self.now)
        self.tasks: list[asyncio.Task[None]] = []

    def slates(self, requests: Sequence[Request]) -> list[Slate]:
        self.now += STEP
        users = [one.user_id for one in requests]
        if wrong := self.bad.intersection(users):
            raise RefusedError("user", f"bad {sorted(map(str, wrong))}")
        self.portions.append(users)
        return [Slate(f"r-{user}", 1, []) for user in users]

    def ask(self, user: Id, client: Client | None = None, call: Callable[[], object] | None = None) -> None:
        """Begin a request, as of now; its answer, or what it raised, will be in `answers`."""
        request = HttpRequest({}, (), b"", (client or Client()).receive, self.now)

        async def one() -> None:
            try:
                if call is None:
                    self.answers[user] = (await self.queue.slate(request, Request(user))).request_id
                else:
                    self.answers[user] = await self.queue.compute(request, call)
            except (DisconnectedError, HttpError, RefusedError) as error:
                self.answers[user] = error

        self.tasks.append(asyncio.ensure_future(one()))

    async def settle(self) -> None:
        """Until every request has its answer."""
        await asyncio.wait_for(asyncio.gather(*self.tasks), 10)

    @property
    def computed(self) -> list[Id]:
        return [user for portion in self.portions for user in portion]

    def status(self, user: Id) -> int:
        answer = self.answers[user]
        return answer.status if isinstance(answer, HttpError) else 200


def shed(reason: str) -> float:
    return REGISTRY.get_sample_value("stream_reco_shed_requests_total", {"reason": reason}) or 0.0


# --- the queue alone, on a clock of its own


async def ask_all(world: World, users: Sequence[Id]) -> None:
    for user in users:
        world.ask(user)
    await asyncio.sleep(0)  # all are in the queue, and nothing is computed yet


def test_a_request_alone_is_computed_alone_and_those_that_wait_together() -> None:
    async def talk() -> World:
        world = World()
        world.ask("first")
        await world.settle()
        await ask_all(world, range(SLATES_AT_ONCE + 3))
        await world.settle()
        return world

    world = asyncio.run(talk())
    assert world.portions == [["first"], [*range(SLATES_AT_ONCE)], [*range(SLATES_AT_ONCE, SLATES_AT_ONCE + 3)]]
    assert world.answers[3] == "r-3"
    waited = REGISTRY.get_sample_value("stream_reco_queue_seconds_count")
    assert waited is not None
    assert waited >= SLATES_AT_ONCE + 4
    assert REGISTRY.get_sample_value("stream_reco_queued_requests") == 0


def test_what_is_no_slate_is_computed_in_its_turn() -> None:
    async def talk() -> World:
        world = World()

        def score() -> float:
            world.portions.append(["score"])
            return 0.5

        world.ask(1)
        world.ask(2)
        world.ask("score", call=score)
        world.ask(3)
        await world.settle()
        return world

    world = asyncio.run(talk())
    assert world.portions == [[1, 2], ["score"], [3]]
    assert world.answers["score"] == 0.5


def test_the_newest_come_first_while_the_oldest_has_waited_too_long() -> None:
    async def talk(waited: float) -> World:
        world = World(ServeSettings(queue_seconds=1.0))
        for user in range(SLATES_AT_ONCE + 1):
            world.ask(user)
        world.now += waited
        world.ask("new")
        await world.settle()
        return world

    in_order = [*range(SLATES_AT_ONCE + 1), "new"]
    assert asyncio.run(talk(PRESSURE_SECONDS / 2)).computed == in_order
    assert asyncio.run(talk(PRESSURE_SECONDS * 2)).computed == in_order[::-1]


def test_beyond_its_number_requests_are_refused_at_once_and_taken_again_when_there_is_room() -> None:
    async def talk() -> World:
        world, before = World(ServeSettings(queue_requests=3)), shed("full")
        await ask_all(world, range(5))
        refusal = world.queue.refusal()
        assert refusal is not None
        assert (refusal.status, dict(refusal.headers)) == (503, {b"retry-after": b"1"})
        assert json.loads(refusal.body)["error"]["reason"] == "overloaded"
        await world.settle()
        assert shed("full") == before + 3
        assert world.queue.refusal() is None
        world.ask(6)
        await world.settle()
        return world

    world = asyncio.run(talk())
    assert world.computed == [0, 1, 2, 6]
    assert [world.status(user) for user in (2, 3, 4, 6)] == [200, 503, 503, 200]
    refused = world.answers[3]
    assert isinstance(refused, HttpError)
    assert refused.headers == ((b"retry-after", b"1"),)


def test_what_has_waited_too_long_is_refused_and_not_computed() -> None:
    async def talk() -> World:
        world, before = World(ServeSettings(queue_seconds=0.3)), shed("late")
        await ask_all(world, ["old", "older"])
        world.now += 0.31
        await ask_all(world, ["new"])
        await world.settle()
        assert shed("late") == before + 2
        return world

    world = asyncio.run(talk())
    assert world.computed == ["new"]
    late = world.answers["old"]
    assert isinstance(late, HttpError)
    assert (late.status, late.reason, late.headers) == (503, "overloaded", ((b"retry-after", b"1"),))


def test_nothing_is_computed_for_a_client_that_has_gone() -> None:
    async def talk() -> World:
        world, before = World(), shed("gone")
        leaver = Client()
        world.ask("leaves", leaver)
        world.ask("stays")
        await asyncio.sleep(0)
        leaver.gone = True
        await world.settle()
        assert shed("gone") == before + 1
        return world

    world = asyncio.run(talk())
    assert world.computed == ["stays"]
    assert isinstance(world.answers["leaves"], DisconnectedError)


def test_a_client_is_asked_whether_it_has_gone_without_waiting_and_without_losing_a_message() -> None:
    async def talk() -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        assert not has_gone(messages.get)
        await messages.put({"type": "http.request"})
        assert not has_gone(messages.get)
        await messages.put({"type": "http.request"})
        await messages.put({"type": "http.disconnect"})
        assert has_gone(messages.get)
        await messages.put({"type": "http.disconnect"})
        assert await messages.get() == {"type": "http.disconnect"}  # nothing waits that would take it away

    asyncio.run(talk())


def test_an_error_is_only_its_own_requests() -> None:
    async def talk() -> World:
        world = World(bad=frozenset({2}))
        await ask_all(world, range(5))
        await world.settle()
        return world

    world = asyncio.run(talk())
    assert world.answers == {0: "r-0", 1: "r-1", 2: world.answers[2], 3: "r-3", 4: "r-4"}
    assert str(world.answers[2]) == "bad ['2']"


def test_a_request_whose_task_was_cancelled_is_passed_over() -> None:
    async def talk() -> World:
        world = World()
        await ask_all(world, ["cancelled", "other"])
        world.tasks.pop(0).cancel()
        await world.settle()
        return world

    assert asyncio.run(talk()).computed == ["other"]


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "leave", "score"]), st.floats(0, 0.2)), max_size=60),
    st.integers(1, 8),
    st.floats(0.05, 0.5),
)
def test_every_request_has_one_answer_and_none_is_computed_in_vain(
    script: list[tuple[str, float]], most: int, seconds: float
) -> None:
    async def talk() -> tuple[World, dict[Id, float]]:
        world = World(ServeSettings(queue_requests=most, queue_seconds=seconds))
        asked: dict[Id, float] = {}
        leavers: list[Id] = []
        for number, (what, pause) in enumerate(script):
            asked[number] = world.now
            world.ask(number, Client(gone=what == "leave"), (lambda: 0.5) if what == "score" else None)
            if what == "leave":
                leavers.append(number)
            world.now += pause
            await asyncio.sleep(0)
        await world.settle()
        assert not set(leavers) & set(world.computed)
        return world, asked

    world, asked = asyncio.run(talk())
    assert set(world.answers) == set(asked)
    slates = [user for user, answer in world.answers.items() if answer == f"r-{user}"]
    assert sorted(map(int, slates)) == sorted(map(int, world.computed))
    assert all(1 <= len(portion) <= SLATES_AT_ONCE for portion in world.portions)


# --- on a real server whose slates take long


@dataclass
class Asking:
    """Connections that each ask for a slate and do not wait for it."""

    url: httpx.URL
    opened: list[socket.socket] = field(default_factory=list)

    def send(self, user: Id) -> socket.socket:
        body = json.dumps({"user_id": user, "k": 1}).encode()
        head = b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        connection = socket.create_connection((self.url.host, self.url.port or 0), timeout=10)
        connection.sendall(head % len(body) + body)
        self.opened.append(connection)
        return connection


@contextmanager
def asking(client: httpx.Client) -> Iterator[Asking]:
    crowd = Asking(client.base_url)
    yield crowd
    for connection in crowd.opened:
        connection.close()


def read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    data = b""
    while part := connection.recv(65536):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), json.loads(body)


@pytest.fixture(autouse=True)
def listens_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a busy machine does not decide what is in the queue."""
    monkeypatch.setattr(request_queue, "LISTENING_SECONDS", 10.0)


def begin(crowd: Asking, service: ToyService) -> threading.Semaphore:
    """Let a first slate be begun; it, and every later portion, ends when the semaphore is released once."""
    service.turns = threading.Semaphore(0)
    crowd.send("first")
    until(lambda: service.begun == 1)
    return service.turns


def test_a_full_server_refuses_at_once_answers_what_it_took_and_recovers(serving: Serving, service: ToyService) -> None:
    client = serving(queue_requests=4, queue_seconds=30.0)
    with asking(client) as crowd:
        turns = begin(crowd, service)
        sent = [crowd.send(number) for number in range(20)]
        turns.release()
        until(lambda: service.begun == 2)  # the four are being computed, and do not end; all others were refused
        turns.release()
        answers = [read(one) for one in sent]
    assert sorted(status for status, _, _ in answers) == [200] * 4 + [503] * 16
    for status, headers, body in answers:
        if status == 503:
            assert headers["retry-after"] == "1"
            assert body["error"]["reason"] == "overloaded"
    assert len(service.asked) == 5
    service.turns = None
    assert client.post("/v1/recommend", json={"user_id": 1, "k": 1}).status_code == 200
    counted = client.get("/metrics").text
    assert 'stream_reco_requests_total{route="/v1/recommend",status="503"}' in counted


@pytest.mark.parametrize("body", [b"content-length: 24\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n18\r\n"])
def test_a_connection_that_was_refused_a_request_has_its_next_one_answered(
    serving: Serving, service: ToyService, body: bytes
) -> None:
    """Both requests come by one connection, in pieces; what is left of the first one's body is dropped."""
    client = serving(queue_requests=2, queue_seconds=30.0)
    slate, end = b'{"user_id": "it", "k":1}', b"0\r\n\r\n" if b"chunked" in body else b""
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\n" + body
    rest = slate + (b"\r\n" + end if end else b"")
    with asking(client) as crowd:
        turns = begin(crowd, service)
        waiting = [crowd.send(number) for number in range(SLATES_AT_ONCE)]
        turns.release()
        until(lambda: service.begun == 2)
        refused = shed("full")
        waiting += [crowd.send(number) for number in range(2)]
        client.get("/v1/status")  # both were read: one thread reads, in the order in which they came
        kept = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)
        kept.sendall(head + rest[:7])
        answer = kept.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"connection: close" not in answer
        assert shed("full") >= refused + 1
        service.turns = None
        turns.release(100)
        assert read(waiting[-1])[0] in (200, 503)
        kept.sendall(rest[7:] + head + rest)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        kept.close()


def test_clients_that_leave_the_queue_of_a_server_are_not_computed_for(serving: Serving, service: ToyService) -> None:
    client, before = serving(queue_seconds=30.0), shed("gone")
    with asking(client) as crowd:
        turns = begin(crowd, service)
        others = [crowd.send(number) for number in range(SLATES_AT_ONCE)]
        leavers = [crowd.send(f"leaves-{number}") for number in range(30)]
        turns.release()
        until(lambda: service.begun == 2)  # the others are being computed, and those that leave are in the queue
        for one in leavers:
            one.close()
        turns.release()
        assert all(read(one)[0] == 200 for one in others)
    service.turns = None
    assert client.post("/v1/recommend", json={"user_id": "last", "k": 1}).status_code == 200
    asked = [one[0] for one in service.asked]
    assert (asked[0], asked[-1], set(asked[1:-1])) == ("first", "last", set(range(SLATES_AT_ONCE)))
    assert shed("gone") == before + 30


def test_what_needs_no_computing_is_answered_while_others_are_computed(serving: Serving, service: ToyService) -> None:
    client = serving(queue_requests=30, queue_seconds=30.0)
    with asking(client) as crowd, ThreadPoolExecutor() as threads:
        turns = begin(crowd, service)
        sent = [crowd.send(number) for number in range(2 * SLATES_AT_ONCE)]
        turns.release()
        until(lambda: service.begun == 2)
        asked = [threads.submit(client.get, route) for route in ("/health/live", "/v1/status", "/metrics")]
        assert [one.result(5).status_code for one in asked] == [200] * 3
        assert service.begun == 2  # it does not end before the next line, nor does the portion after it begin
        turns.release(2)
        assert all(read(one)[0] == 200 for one in sent)


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("POST", "/v1/recommend"),
        ("POST", "/v1/score"),
        ("GET", "/v1/items/1/similar"),
        ("GET", "/v1/users/1/interests"),
        ("GET", "/v1/features"),
    ],
)
def test_a_refusal_needs_the_head_of_a_request_alone(
    client: httpx.Client, service: ToyService, method: str, route: str
) -> None:
    sent: list[Message] = []

    async def never() -> Message:
        raise AssertionError("the body was asked for")

    async def body() -> Message:
        return {"type": "http.request", "body": b'{"user_id": 1, "k": 1}'}

    async def send(message: Message) -> None:
        sent.append(message)

    async def drop(_: Message) -> None: ...

    async def talk() -> None:
        api = Api(service, ManualClock(0), ServeSettings(queue_requests=1))
        fills = asyncio.ensure_future(api(scope_of("POST", "/v1/recommend"), body, drop))
        await asyncio.gather(asyncio.ensure_future(api(scope_of(method, route), never, send)), fills)

    asyncio.run(talk())
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
    schema = client.get("/schema").json()["paths"]
    template = route.replace("/1/", "/{id}/")
    assert "Retry-After" in schema[template][method.lower()]["responses"]["503"]["description"]


def scope_of(method: str, route: str) -> Scope:
    path = {"path": route, "raw_path": route.encode(), "query_string": b""}
    return {"type": "http", "method": method, "headers": [(b"host", b"localhost")], **path}
