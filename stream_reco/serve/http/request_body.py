"""Reading a request's body: how long it may be, how long it may take, and from which memory it is held."""

from __future__ import annotations

import asyncio

from stream_reco.serve.http.body_memory import HeldBody
from stream_reco.serve.http.messages import DisconnectedError, HttpError, Message, Receive, Scope, header, received
from stream_reco.serve.settings import ServeSettings

DRAINED_BYTES = 64 * 1024 * 1024
"""Read and dropped of a body that is refused, before the connection is broken."""
_CLOSE = (b"connection", b"close")
RETRY_SECONDS = 1
"""Until a body that found no memory may come again; the bodies that have it are answered in less."""


async def read_body(scope: Scope, receive: Receive, settings: ServeSettings, held: HeldBody) -> bytes | bytearray:
    """The whole body, whose memory `held` has from before it is read.

    Raises `HttpError`: 413 where it is longer than `max_body_bytes`, 503 where there is no memory for it, 408 where it
    takes longer than `body_seconds`; `DisconnectedError` where the client left.
    """
    reader = _BodyReader(scope, receive, settings.max_body_bytes, held)
    reader.check_head()
    first = received(receive)
    if first is not None and first["type"] == "http.request" and not first.get("more_body", False):
        return reader.whole(first)
    try:
        # Most bodies come with their heads: no timer is made for them.
        async with asyncio.timeout(settings.body_seconds):
            return await reader.read(await receive() if first is None else first)
    except TimeoutError:
        message = f"the body did not arrive within {settings.body_seconds:g} s: send it faster, or in smaller requests"
        raise HttpError(408, "timeout", message, (_CLOSE,)) from None


class _BodyReader:
    def __init__(self, scope: Scope, receive: Receive, limit: int, held: HeldBody) -> None:
        self._scope, self._receive, self._limit, self._held = scope, receive, limit, held
        self._refusal: HttpError | None = None

    def check_head(self) -> None:
        """Refuse a body whose length says enough, at once where the client waits for a word before it sends."""
        declared = header(self._scope, b"content-length")
        self._check(int(declared) if declared is not None and declared.isdigit() else 0)
        if self._refusal is not None and header(self._scope, b"expect") is not None:
            raise self._refusal

    def whole(self, message: Message) -> bytes:
        """The body that came in one message."""
        body: bytes = message.get("body", b"")
        self._check(len(body))
        if self._refusal is not None:
            raise self._refusal
        return body

    async def read(self, message: Message) -> bytes | bytearray:
        """The body that begins with a message."""
        if message["type"] == "http.request" and not message.get("more_body", False):
            return self.whole(message)
        body = bytearray()
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            part = message.get("body", b"")
            size += len(part)
            self._check(size)
            if self._refusal is None:
                body += part
            else:
                body.clear()
            # A body that is refused is still read, up to a bound: clients that write all of it before they read would
            # otherwise see a broken connection instead of the answer.
            if not message.get("more_body", False) or size > self._limit + DRAINED_BYTES:
                break
            message = await self._receive()
        if self._refusal is not None:
            raise self._refusal
        return body

    def _check(self, size: int) -> None:
        """Refuse the body, once, if it is too long or finds no memory."""
        if self._refusal is not None:
            return
        if size > self._limit:
            self._refusal = _too_large(self._limit)
        elif not self._held.grow(size):
            self._refusal = _no_memory()
        if self._refusal is not None:
            self._held.release()


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "too_large",
        f"the body is longer than {limit} bytes: send smaller requests, or raise the setting serve.max_body_bytes",
        (_CLOSE,),
    )


def _no_memory() -> HttpError:
    return HttpError(
        503,
        "memory",
        "other bodies take the memory that serve.body_memory_megabytes allows: send again after the seconds in"
        " Retry-After, or smaller requests",
        ((b"retry-after", str(RETRY_SECONDS).encode()), _CLOSE),
    )
