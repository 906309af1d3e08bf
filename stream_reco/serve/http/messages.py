"""Requests and responses over raw ASGI: bodies, ids in paths, queries, and errors as JSON."""

from __future__ import annotations

import asyncio
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
_INTEGER = re.compile(r"-?[0-9]{1,18}(\.0+)?\Z")
DRAINED_BYTES = 64 * 1024 * 1024
"""Read and dropped of a body that is too long, before the connection is broken."""


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
    """One request, its body read: `args` are the path's variable parts, still percent-encoded."""

    scope: Scope
    args: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response to one request."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()

    async def send(self, send: Send) -> None:
        """Hand the response to the server."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
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


async def read_body(scope: Scope, receive: Receive, limit: int, seconds: float) -> bytes:
    """The whole body; raises `HttpError` 413 if longer than `limit` bytes, 408 if it takes longer than `seconds`."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    declared = header(scope, b"content-length")
    keep = not (declared is not None and declared.isdigit() and int(declared) > limit)
    try:
        async with asyncio.timeout(seconds):
            return await _read_parts(message, receive, limit, keep)
    except TimeoutError:
        message_text = f"the body did not arrive within {seconds:g} s: send it faster, or in smaller requests"
        raise HttpError(408, "timeout", message_text, ((b"connection", b"close"),)) from None


async def _read_parts(message: Message, receive: Receive, limit: int, keep: bool) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part = message.get("body", b"")
        size += len(part)
        keep = keep and size <= limit
        if keep:
            parts.append(part)
        else:
            parts.clear()
        # A body that is too long is still read, up to a bound: clients that write all of it before they read would
        # otherwise see a broken connection instead of the answer.
        if not message.get("more_body", False) or size > limit + DRAINED_BYTES:
            break
        message = await receive()
    if not keep:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "too_large",
        f"the body is longer than {limit} bytes: send smaller requests, or raise the setting serve.max_body_bytes",
        ((b"connection", b"close"),),
    )


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


def check_host(scope: Scope) -> None:
    """Raise `HttpError` 400 where HTTP/1.1 comes without a Host header, or with several.

    Two servers that each believe another one of them would disagree on whom the request is for.
    """
    hosts = sum(key == b"host" for key, _ in scope["headers"])
    if hosts > 1 or (not hosts and scope["http_version"] == "1.1"):
        raise HttpError(400, "host", f"the request has {hosts} Host headers: HTTP/1.1 needs one")
