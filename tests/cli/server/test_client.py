"""Sending a log to a server that is busy, away, or not ours."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stream_reco.cli.server.client import MOST_BYTES, Client, Sent, bodies
from stream_reco.events import ItemEvent, decode_many
from stream_reco.terminal.errors import Failure, Misuse


class Shop:
    """A server that gives prepared answers: (status, headers, body), the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                shop.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status, headers, answer = shop.answers.pop(0) if len(shop.answers) > 1 else shop.answers[0]
                if status == 0:  # hang up
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in (headers | {"content-length": str(len(answer))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Naps:
    """Sleeps in no time and remembers how long it would have been; also the clock that goes with it."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)

    def clock(self) -> float:
        return sum(self.taken)


GOOD: tuple[int, dict[str, str], bytes] = (200, {}, b'{"accepted":1,"duplicates":0,"rejected":[]}')


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
def naps() -> Naps:
    return Naps()


def client(url: str, naps: Naps, **more: Any) -> Client:
    return Client(url, sleep=naps.sleep, clock=naps.clock, **more)


def test_events_are_posted_once_with_the_token(shop: Shop, naps: Naps) -> None:
    shop.answers = [GOOD]
    mine = client(shop.url + "/behind/", naps, token=" ".join(["a", "secret", "of", "mine"]))
    assert mine.post("/v1/events", b"[1]") == {"accepted": 1, "duplicates": 0, "rejected": []}
    mine.close()
    ((path, headers, body),) = shop.asked
    assert (path, body) == ("/behind/v1/events", b"[1]")
    assert headers["authorization"] == "Bearer a secret of mine"
    assert naps.taken == []


def test_a_busy_server_gets_the_time_it_asks_for(shop: Shop, naps: Naps) -> None:
    busy = b'{"error":{"reason":"backlog","message":"wait"}}'
    shop.answers = [(429, {"retry-after": "3"}, busy), (503, {}, busy), (503, {"retry-after": "99"}, busy), GOOD]
    client(shop.url, naps).post("/v1/events", b"[]")
    assert naps.taken == [3.0, 0.2, 10.0]
    assert len(shop.asked) == 4


def test_a_connection_that_breaks_is_opened_again(shop: Shop, naps: Naps) -> None:
    shop.answers = [(0, {}, b""), GOOD]
    mine = client(shop.url, naps)
    mine.post("/v1/events", b"[]")
    mine.post("/v1/events", b"[]")
    assert len(naps.taken) == 1
    assert len(shop.asked) == 3


def test_patience_ends(shop: Shop, naps: Naps) -> None:
    shop.answers = [(503, {"retry-after": "5"}, b'{"error":{"reason":"disk","message":"no room"}}')]
    with pytest.raises(Failure, match="within 12 s: no room"):
        client(shop.url, naps, timeout=12).post("/v1/events", b"[]")
    assert naps.taken == [5.0, 5.0]


def test_a_server_that_is_away_is_named(naps: Naps) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(Failure, match=f"http://{url} did not answer.*is `stream-reco serve` running there"):
        client(url, naps, timeout=1).post("/v1/events", b"[]")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((401, {}, b'{"error":{"reason":"token","message":"no token"}}'), "status 401: no token"),
        ((404, {}, b"<html>not here</html>"), "status 404: not JSON: b'<html>"),
        ((400, {}, b"[]"), "status 400"),
    ],
)
def test_a_refusal_is_not_tried_again(
    answer: tuple[int, dict[str, str], bytes], complaint: str, shop: Shop, naps: Naps
) -> None:
    shop.answers = [answer]
    with pytest.raises(Failure, match=complaint):
        client(shop.url, naps).post("/v1/events", b"[]")
    assert len(shop.asked) == 1


@pytest.mark.parametrize("url", ["ftp://somewhere", "http://", "http://a:b", ""])
def test_addresses_that_are_none_are_misuse(url: str) -> None:
    with pytest.raises(Misuse, match="--url"):
        Client(url)


def test_bodies_are_bounded_in_events_and_bytes() -> None:
    small = [ItemEvent(item_id=i, timestamp=i) for i in range(10)]
    cut = list(bodies(small, 4))
    assert [count for count, _ in cut] == [4, 4, 2]
    assert [event for _, body in cut for event in decode_many(body)] == small
    large = [ItemEvent(item_id=i, timestamp=i, features={"text": ["x" * 4000] * 200}) for i in range(24)]
    sizes = [len(body) for _, body in bodies(large, 1000)]
    assert len(sizes) > 1
    assert max(sizes) <= MOST_BYTES
    assert list(bodies([], 5)) == []


def test_what_became_of_the_events_is_added_up() -> None:
    sent = Sent()
    bad = [{"index": i, "reason": "id", "message": f"bad {i}"} for i in range(7)]
    sent.add(9, json.loads(GOOD[2]) | {"duplicates": 1, "rejected": bad})
    sent.add(1, json.loads(GOOD[2]))
    assert (sent.events, sent.accepted, sent.duplicates, dict(sent.rejected)) == (10, 2, 1, {"id": 7})
    assert sent.messages == [f"id: bad {i}" for i in range(5)]
