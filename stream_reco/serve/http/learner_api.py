"""What a learner's process answers to the scorers beside it: it makes events durable, and forgets users."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import nullcontext

import msgspec

from stream_reco.events import Id
from stream_reco.events.packed import PackedEvents
from stream_reco.serve.http.event_bodies import INLINE_BYTES
from stream_reco.serve.http.messages import HttpResponse, Receive, Scope, Send
from stream_reco.serve.service import Accepted, EventService, UnavailableError

_LOGGER = logging.getLogger(__name__)
EVENTS, FORGET = "/events", "/forget"


class Refusal(msgspec.Struct, frozen=True):
    """Why it cannot be done now, and after how many seconds it may be tried again."""

    reason: str
    message: str
    retry_after: int


class LearnerApi:
    """An ASGI application over a socket that only this server's own processes can open."""

    def __init__(self, service: EventService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 200 with JSON, or 503 with a `Refusal`."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        try:
            answer = msgspec.json.encode(await self._do(scope["path"], body))
            status = 200
        except UnavailableError as error:
            status, answer = 503, msgspec.json.encode(Refusal(error.reason, str(error), error.retry_after))
        except Exception as error:  # the learner must not end by what one request brings
            _LOGGER.exception("a request of a scorer failed")
            status, answer = 503, msgspec.json.encode(Refusal("internal", f"{type(error).__name__}: {error}", 1))
        await HttpResponse(answer, status).send(send)

    async def _do(self, path: str, body: bytes) -> Accepted | None:
        if path == FORGET:
            await self._service.forget(msgspec.json.decode(body, type=Id))
            return None
        with self._service.taking_batch() if len(body) > INLINE_BYTES else nullcontext():
            taken: Awaitable[Accepted] = self._service.accept(PackedEvents.from_bytes(body))
            return await taken


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
