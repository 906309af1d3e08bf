"""Requests and responses over raw ASGI: bodies, ids in paths, queries, and errors as JSON."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_to_bytes

import msgspec

from stream_reco.events import Id, id_from_path
from stream_reco.events.field_names import shortened
from stream_reco.serve.request_validation import unknown_name

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
RETRY_AFTER: Headers = ((b"retry-after", b"1"),)
_INTEGER = re.compile(r"-?[0-9]{1,18}(\.0+)?\Z")


class HttpError(Exception):
    """An answer that is an error: status, a short code, a sentence for people, and headers."""

    def __init__(self, status: int, reason: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers


class DisconnectedError(Exception):
    """The client disconnected before its body was complete."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body read: `args` are the path's variable parts, still percent-encoded.

    `receive` tells whether the client has gone; `arrived` is when the last byte was read, on `time.perf_counter`.
    """

    scope: Scope
    args: tuple[bytes, ...]
    body: bytes | bytearray
    receive: Receive
    arrived: float


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response to one request."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()

    @property
    def fields(self) -> Headers:
        """All header fields."""
        length = (b"content-length", b"%d" % len(self.body))
        return ((b"content-type", self.content_type), length, (b"x-content-type-options", b"nosniff"), *self.headers)

    async def send(self, send: Send) -> None:
        """Hand the response to the server."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields})
        await send({"type": "http.response.body", "body": self.body})


def error_response(error: HttpError) -> HttpResponse:
    """`{"error": {"reason": …, "message": …}}`."""
    body = msgspec.json.encode({"error": {"reason": error.reason, "message": str(error)}})
    return HttpResponse(body, status=error.status, headers=error.headers)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def path_id(part: bytes) -> Id:
    """The id in one percent-encoded part of a URL path; raises `HttpError` 400, `BadEvent`."""
    try:
        return id_from_path(unquote_to_bytes(part).decode("utf-8"))
    except UnicodeDecodeError:
        raise HttpError(400, "id", f"the id {part!r} in the path is not percent-encoded UTF-8") from None


def check_query(scope: Scope, known: Sequence[str]) -> None:
    """Raise `HttpError` 400 for a parameter in the query string that is not known, or is there twice."""
    names = [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    for name in names:
        if name not in known:
            raise HttpError(400, "query", unknown_name("query parameter", name, known))
        if names.count(name) > 1:
            raise HttpError(
                400, "query", f"the query parameter {name} is given {names.count(name)} times: give it once"
            )


def query_int(scope: Scope, name: str, default: int) -> int:
    """An integer from the query string."""
    values = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get(name)
    if values is None:
        return default
    if not _INTEGER.match(values[-1]):
        raise HttpError(400, name, f"{name} is {shortened(values[-1])!r}: it must be an integer")
    return int(values[-1].partition(".")[0])


def received(receive: Receive) -> Message | None:
    """The next message if it is there already; None, and `receive` is dropped, where it would have to wait."""
    step = receive().__await__()
    try:
        next(step)
    except StopIteration as done:
        message: Message = done.value
        return message
    step.close()
    return None


def check_host(scope: Scope) -> None:
    """Raise `HttpError` 400 where HTTP/1.1 comes without a Host header, or with several.

    Two servers that each believe another one of them would disagree on whom the request is for.
    """
    hosts = sum(key == b"host" for key, _ in scope["headers"])
    if hosts > 1 or (not hosts and scope["http_version"] == "1.1"):
        raise HttpError(400, "host", f"the request has {hosts} Host headers: HTTP/1.1 needs one")
