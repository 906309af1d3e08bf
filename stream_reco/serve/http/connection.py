"""One connection: uvicorn's protocol, with bounds on what comes before a request and on how long it may take.

Where too many requests wait already, it refuses the next one itself: in an overload most of what comes is refused, and
what each refusal costs is taken from the slates.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from stream_reco.serve.http.messages import Headers, HttpError, HttpResponse, error_response

MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers together; also what may come between two parts of a body, such as trailers."""
MOST_HEADERS = 200
MOST_TARGET_BYTES = 16 * 1024
HEAD_SECONDS = 30.0
"""For a whole head, from the opening of the connection, or from the first byte after an answer."""
HELD_SECONDS, MOST_HELD_BYTES = 0.02, 16 * 1024
"""How long a request waits for all of a short body before it is looked at; then the body has its time as any other."""
LINGER_SECONDS = 2.0
"""Reading and dropping after a refusal: a connection that is closed with bytes unread loses the answer on its way."""


class Shedding(Protocol):
    """An application that knows, from the target of a request alone, whether it has room for it."""

    def shed(self, target: bytes) -> HttpResponse | None:
        """The refusal of a request of this target; None: it is to be answered by the application."""


class BoundedConnection(HttpToolsProtocol):
    """Refuses a head that is too large before it is buffered, and closes connections that bring none.

    The parser joins the pieces of a header as they come, so that bytes are counted before it sees them: those since
    the last request or part of a body.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unused_bytes = 0
        self._fields = 0
        self._head_bytes = 0
        self._has_used = False
        self._refusal: HttpError | None = None
        self._is_shed = False
        """Whether the request that is being read was refused, so that its body is dropped."""
        self._held: tuple[RequestResponseCycle, Any] | None = None
        """A request that begins when its body is there."""
        self._held_until: asyncio.TimerHandle | None = None
        self._shedding = cast(Shedding, self.config.app)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._held_until is not None:
            self._held_until.cancel()
        self._held = None
        super().connection_lost(exc)

    def eof_received(self) -> None:
        super().eof_received()
        if self._refusal is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data) and self._refusal is None and not self.transport.is_closing():
            room = MOST_HEAD_BYTES - self._unused_bytes
            if room <= 0:
                self._refuse(_too_many_bytes())
                return
            piece = data if len(data) <= room else data[at : at + room]
            at += len(piece)
            self._has_used = False
            super().data_received(piece)
            self._unused_bytes = 0 if self._has_used else self._unused_bytes + len(piece)
        if self._refusal is None and (self.cycle is None or self.cycle.response_complete):
            self._watch()

    # --- what the parser finds; an error raised here reaches `send_400_response`

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._fields = self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MOST_TARGET_BYTES:
            message = f"the request target is longer than {MOST_TARGET_BYTES} bytes: send ids and filters in a body"
            self._refusal = HttpError(414, "target", message)
            raise self._refusal

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._fields > MOST_HEADERS:
            message = f"there are more than {MOST_HEADERS} header fields: leave out cookies and other needless ones"
            self._refusal = HttpError(431, "headers", message)
            raise self._refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + self._head_bytes > MOST_HEAD_BYTES:
            self._refusal = _too_many_bytes()
            raise self._refusal
        self._has_used = True
        self._unwatch()
        shed = self._shed()
        if shed is None:
            super().on_headers_complete()
            self.cycle.send = _OneWrite(self.cycle)  # type: ignore[method-assign] # looked up when its task begins
        else:
            self._is_shed = True
            self.transport.write(_as_bytes(shed, closes=not self.parser.should_keep_alive()))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        waits = cycle.more_body and not cycle.waiting_for_100_continue
        if not (waits and 0 < _body_bytes(cycle) <= MOST_HELD_BYTES):
            super()._start_asgi_task(cycle, app)
            return
        # Most clients send head and body one after the other: to begin between them takes a turn of the loop more.
        self._held = (cycle, app)
        self._held_until = self.loop.call_later(HELD_SECONDS, self._start_held)

    def _start_held(self) -> None:
        """Begin with the request whose body was waited for, if any."""
        if self._held is not None and self._held_until is not None:
            (cycle, app), self._held = self._held, None
            self._held_until.cancel()
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._has_used = True
        if not self._is_shed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_used = True
        if not self._is_shed:
            super().on_message_complete()
            self._start_held()
            return
        self._is_shed = False
        if self.parser.should_keep_alive():
            self.on_response_complete()
        else:
            self.transport.close()

    def _shed(self) -> HttpResponse | None:
        """The refusal of the request whose head has come, unless an earlier one of this connection is not answered."""
        is_owed = self.cycle is not None and not self.cycle.response_complete
        return None if is_owed or self.expect_100_continue else self._shedding.shed(self.url)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser stopped at; uvicorn calls it for every error that it raised."""
        if self._refusal is None:
            super().send_400_response(msg)
        else:
            self._refuse(self._refusal)

    # --- the end of a connection

    def _refuse(self, refusal: HttpError) -> None:
        """Answer, unless the connection owes an earlier answer, then drop what comes for a while, and close."""
        self._refusal = refusal
        self._unwatch()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        self.transport.write(_as_bytes(error_response(refusal), closes=True))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _watch(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._unused_bytes and not self.transport.is_closing():
            message = f"the head of the request did not arrive within {HEAD_SECONDS:g} s: send it faster"
            self._refuse(HttpError(408, "timeout", message))
        else:
            self.transport.close()


class _OneWrite:
    """The `send` of one response of one part, which writes head and body together.

    Two writes wake the client twice, and the server gives up the interpreter's lock for each.
    """

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: Any = None

    async def __call__(self, message: Any) -> None:
        cycle = self._cycle
        if message["type"] == "http.response.start":
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
            self._head = message
            return
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        fields = tuple(self._head["headers"])
        cycle.keep_alive = cycle.keep_alive and (b"connection", b"close") not in fields
        head = _head(self._head["status"], (*cycle.default_headers, *fields), closes=not cycle.keep_alive)
        cycle.transport.write(head if cycle.scope["method"] == "HEAD" else head + message["body"])
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def _body_bytes(cycle: RequestResponseCycle) -> int:
    """As many as the head says; 0 where it does not."""
    return next((int(value) for name, value in cycle.scope["headers"] if name == b"content-length"), 0)


def _too_many_bytes() -> HttpError:
    return HttpError(431, "headers", f"the head of the request is longer than {MOST_HEAD_BYTES} bytes: send less")


@lru_cache(maxsize=16)  # nearly all of them are the refusal of a full queue
def _as_bytes(response: HttpResponse, *, closes: bool) -> bytes:
    return _head(response.status, response.fields, closes=closes) + response.body


@lru_cache(maxsize=64)
def _head(status: int, fields: Headers, *, closes: bool) -> bytes:
    if closes and (b"connection", b"close") not in fields:
        fields = (*fields, (b"connection", b"close"))
    return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
