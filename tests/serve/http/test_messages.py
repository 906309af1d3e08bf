"""The protocol around the routes: methods, sizes, slow and vanishing clients, ports."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from stream_reco.serve.http.server import CannotListenError, HttpServer

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService


def connect(client: httpx.Client) -> socket.socket:
    assert client.base_url.port is not None
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_unknown_routes_and_wrong_methods(client: httpx.Client) -> None:
    for path in ("/v2/events", "/v1", "/v1/events/", "/v1/users", "/v1/items/1", "/v1/users/1/2/interests"):
        lost = client.get(path)
        assert lost.status_code == 404
        assert lost.json()["error"]["reason"] == "route"
    for method, path, allowed in [
        ("GET", "/v1/events", "POST"),
        ("PUT", "/v1/recommend", "POST"),
        ("POST", "/v1/status", "GET, HEAD"),
        ("GET", "/v1/users/1", "DELETE"),
        ("OPTIONS", "/v1/score", "POST"),
    ]:
        wrong = client.request(method, path)
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == allowed
        assert wrong.json()["error"]["reason"] == "method"


def test_head_is_a_get_without_its_body(client: httpx.Client) -> None:
    head = client.head("/v1/status")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(client.get("/v1/status").content)


def test_the_root_leads_to_the_dashboard(client: httpx.Client) -> None:
    answer = client.get("/", follow_redirects=True)
    assert answer.url.path == "/dashboard"
    assert answer.headers["content-type"].startswith("text/html")


def test_long_bodies_are_refused_whether_declared_or_chunked(serving: Serving, service: ToyService) -> None:
    client = serving(max_body_bytes=1000)
    assert client.post("/v1/events", content=b"[" + b" " * 998 + b"]").status_code == 200
    for size in (1001, 300_000):
        for content in (b" " * size, (b" " * 1000 for _ in range(size // 1000 + 1))):
            refused = client.post("/v1/events", content=content)
            assert refused.status_code == 413
            assert refused.json()["error"]["reason"] == "too_large"
    assert not service.events
    assert client.get("/v1/status").status_code == 200


def test_a_body_that_dawdles_is_given_up(serving: Serving) -> None:
    client = serving(body_seconds=0.1)
    with connect(client) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"timeout" in answer


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", [], 400),
        (b"1.1", [b"localhost", b"localhost"], 400),
        (b"1.1", [b"localhost", b"evil.example"], 400),
        (b"1.0", [b"localhost", b"localhost"], 400),
        (b"1.0", [], 200),
        (b"1.1", [b"localhost"], 200),
        (b"1.1", [b"evil.example"], 421),
    ],
)
def test_a_request_names_one_host(client: httpx.Client, version: bytes, hosts: list[bytes], status: int) -> None:
    lines = b"".join(b"Host: " + host + b"\r\n" for host in hosts)
    with connect(client) as connection:
        connection.sendall(b"GET /health/live HTTP/" + version + b"\r\n" + lines + b"Connection: close\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer
    if status == 400:
        assert b'"reason":"host"' in answer


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(client: httpx.Client, service: ToyService) -> None:
    with connect(client) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[")
    time.sleep(0.05)
    assert client.post("/v1/events", content=b"[]").status_code == 200
    assert not service.events


def test_a_connection_serves_many_requests_and_pipelines(client: httpx.Client) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(client) as connection:
        connection.sendall(one * 3 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = read_all(connection)
    assert answer.count(b'{"live":true}') == 4


@pytest.mark.parametrize("line", [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", "GET /ü HTTP/1.1\r\n\r\n".encode()])
def test_garbage_on_the_line_ends_that_connection_only(client: httpx.Client, line: bytes) -> None:
    with connect(client) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        assert not re.match(rb"HTTP/1.1 [25]", read_all(connection))
    assert client.get("/health/live").status_code == 200


def test_a_port_in_use_is_named_before_anything_starts() -> None:
    first = HttpServer("127.0.0.1", 0)
    with pytest.raises(CannotListenError, match=rf"127.0.0.1:{first.port}.*another port"):
        HttpServer("127.0.0.1", first.port)
    first.stop()
    HttpServer("127.0.0.1", first.port).stop()


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(CannotListenError, match=r"serve\.host"):
        HttpServer("192.0.2.1", 0)
    with pytest.raises(CannotListenError, match=r"serve\.host"):
        HttpServer("no such name", 0)


def test_stop_can_be_repeated_and_frees_the_port(serving: Serving) -> None:
    with HttpServer("127.0.0.1", 0) as server:
        pass
    server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    assert serving().get("/health/live").status_code == 200
