"""What may come before a request: sizes of its head, and how long a connection may bring none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from stream_reco.serve.http import connection as bounds
from tests.serve.http.test_messages import connect, read_all

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


def said(answer: bytes, status: int, reason: str) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 %d " % status)
        and b"connection: close" in head
        and b'{"error":{"reason":"%b"' % reason.encode() in body
        and f"content-length: {len(body)}".encode() in head
    )


def send_all(client: httpx.Client, parts: list[bytes]) -> bytes:
    with connect(client) as opened:
        try:
            for part in parts:
                opened.sendall(part)
        except ConnectionError:
            pass  # it closed on us, after its answer
        return read_all(opened)


@pytest.mark.parametrize(
    ("parts", "status", "reason"),
    [
        ([LIVE, b"X-Long: ", *[b"a" * 65536] * 300, b"\r\n\r\n"], 431, "headers"),
        ([LIVE, b"X-Long: " + b"a" * 65_500 + b"\r\n\r\n"], 431, "headers"),
        ([LIVE, *[b"X-%d: 1\r\n" % n for n in range(200)], b"\r\n"], 431, "headers"),
        ([b"GET /", *[b"a" * 65536] * 300, b" HTTP/1.1\r\n\r\n"], 414, "target"),
        ([b"GET /" + b"a" * 16_384 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"], 414, "target"),
    ],
)
def test_a_head_that_is_too_large_is_refused(
    client: httpx.Client, parts: list[bytes], status: int, reason: str
) -> None:
    start = time.monotonic()
    assert said(send_all(client, parts), status, reason)
    assert time.monotonic() - start < 5
    assert client.get("/health/live").status_code == 200


def test_a_head_within_the_bounds_is_answered(client: httpx.Client) -> None:
    fields = [b"X-%d: %b\r\n" % (n, b"a" * 300) for n in range(190)]
    for head in (
        [LIVE, *fields, b"Connection: close\r\n\r\n"],
        [LIVE, b"X-Long: " + b"a" * 65_000 + b"\r\nConnection: close\r\n\r\n"],
    ):
        assert send_all(client, head).startswith(b"HTTP/1.1 200")
    answer = client.get("/" + "a" * 16_000)
    assert answer.status_code == 404


def test_bounds_count_for_each_request_of_a_connection(client: httpx.Client) -> None:
    one = LIVE + b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n"
    with connect(client) as opened:
        for _ in range(4):
            opened.sendall(one)
            assert b'{"live":true}' in opened.recv(65536)
        opened.sendall(LIVE + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n")
        assert said(read_all(opened), 431, "headers")


def test_trailers_are_bounded_too(client: httpx.Client) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nX-Long: "
    start = time.monotonic()
    answer = send_all(client, [head, *[b"a" * 65536] * 300])
    assert b" 200 " not in answer
    assert time.monotonic() - start < 5
    assert client.get("/health/live").status_code == 200


def test_a_large_body_is_not_a_head(client: httpx.Client) -> None:
    body = b"[" + b" " * 3_000_000 + b"]"
    assert client.post("/v1/events", content=body).json()["accepted"] == 0
    chunks = (body[at : at + 70_000] for at in range(0, len(body), 70_000))
    assert client.post("/v1/events", content=chunks).json()["accepted"] == 0


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"\r\n", b"HTTP/1.1 408"), (LIVE, b"HTTP/1.1 408"), (b"GET /health", b"HTTP/1.1 408")],
)
def test_a_connection_without_a_request_ends(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.4)
    with connect(client) as opened:
        start = time.monotonic()
        opened.sendall(sent)
        assert read_all(opened).startswith(answer)
        assert 0.3 < time.monotonic() - start < 5


def test_a_head_that_comes_byte_by_byte_gets_no_longer(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.4)
    with connect(client) as opened:
        opened.settimeout(0.05)
        start, answer = time.monotonic(), b""
        while not answer and time.monotonic() - start < 5:
            opened.sendall(b"G" if time.monotonic() == start else b"E")
            try:
                answer = opened.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 4")


def test_the_next_head_of_a_connection_has_its_time_too(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.4)
    with connect(client) as opened:
        opened.sendall(LIVE + b"\r\n")
        assert b'{"live":true}' in opened.recv(65536)
        time.sleep(0.8)  # between requests a connection may be idle for longer
        opened.sendall(LIVE + b"\r\n")
        assert b'{"live":true}' in opened.recv(65536)
        start = time.monotonic()
        opened.sendall(b"\r\n")
        read_all(opened)
        assert time.monotonic() - start < 5


def test_a_refused_connection_that_stays_open_is_closed(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LINGER_SECONDS", 0.2)
    with connect(client) as opened:
        opened.sendall(b"GET /" + b"a" * 20_000)
        assert said(read_all(opened), 414, "target")
        opened.settimeout(5)
        time.sleep(1)
        opened.sendall(b"a")  # answered by a reset
        time.sleep(0.2)
        with pytest.raises(ConnectionError):
            opened.sendall(b"a")


class _Recording:
    """A transport that keeps what is written."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport, self._written = transport, written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self._written.append(b"".join(parts))
        self._transport.writelines(parts)


def test_an_answer_is_one_write(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made, written = bounds.BoundedConnection.connection_made, list[bytes]()

    def connection_made(self: bounds.BoundedConnection, transport: asyncio.Transport) -> None:
        made(self, _Recording(transport, written))  # type: ignore[arg-type] # stands in for it

    monkeypatch.setattr(bounds.BoundedConnection, "connection_made", connection_made)
    post = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    with connect(client) as opened:
        for request, ends in [
            (LIVE + b"\r\n", [b'{"live":true}']),
            (LIVE.replace(b"GET", b"HEAD") + b"\r\n", [b"\r\n\r\n"]),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", [b"\r\n\r\n"]),
            (post + b"\r\n[]", [b"}"]),
            (post + b"Expect: 100-continue\r\n\r\n", [b"100 Continue\r\n\r\n"]),
            (b"[]", [b"}"]),
            ((LIVE + b"\r\n") * 3, [b'{"live":true}'] * 3),
        ]:
            written.clear()
            opened.sendall(request)
            deadline = time.monotonic() + 5
            while len(written) < len(ends) and time.monotonic() < deadline:
                time.sleep(0.005)
            assert [data.endswith(end) for data, end in zip(written, ends, strict=True)] == [True] * len(ends), written


def test_a_body_that_is_there_needs_no_timer(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def timer(_: float) -> None:
        raise AssertionError("a timer")

    with connect(client) as opened:
        monkeypatch.setattr(asyncio, "timeout", timer)
        opened.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]")
        assert b" 200 " in opened.recv(65536)


@pytest.mark.parametrize("held_seconds", [60.0, 0.01])
def test_a_request_begins_with_its_short_body_or_soon(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, held_seconds: float
) -> None:
    """A body that comes a moment after its head needs no timer of its own; a slower one is read as any other."""
    timers: list[float] = []
    timeout = asyncio.timeout

    def counted(seconds: float) -> asyncio.Timeout:
        timers.append(seconds)
        return timeout(seconds)

    monkeypatch.setattr(asyncio, "timeout", counted)
    monkeypatch.setattr(bounds, "HELD_SECONDS", held_seconds)
    with connect(client) as opened:
        for _ in range(2):
            opened.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
            time.sleep(0.1)
            opened.sendall(b"[")
            time.sleep(0.02)
            opened.sendall(b"]")
            assert b" 200 " in opened.recv(65536)
    assert len(timers) == (0 if held_seconds > 1 else 2)
