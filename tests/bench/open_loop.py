"""A crowd that does not wait: requests at random moments, whether or not those before were answered.

Each comes at its moment of a Poisson process, takes a connection that is idle or opens one, and leaves, closing its
connection, when its patience ends. Latency is counted from the moment at which the request was due, so that a client
that is late itself cannot make a server look better.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import uvloop

from tests.bench.busy_shop import USERS
from tests.bench.running_server import CONTEXT

GAVE_UP, BROKEN = 0, -1
"""In place of a status: no answer within the client's patience; a connection that could not be made, or broke."""


@dataclass(frozen=True)
class Outcome:
    """What became of a request: `due` and `seconds` (from then until the answer), and the status."""

    due: float
    seconds: float
    status: int


class _Connection(asyncio.Protocol):
    """One connection with one request at a time; `answered` is called with the status of each."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: Callable[[int], None] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if blank and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]):
            self._data = b""
            self._tell(int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        self._tell(BROKEN)

    def _tell(self, status: int) -> None:
        answered, self.answered = self.answered, None
        if answered is not None:
            answered(status)


@dataclass
class _Crowd:
    port: int
    patience: float
    idle: list[_Connection] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    async def one(self, due: float, user: int, stays: bool) -> None:
        """One request, on a connection that stays or on one of its own."""
        loop = asyncio.get_running_loop()
        status = BROKEN
        try:
            async with asyncio.timeout_at(due + self.patience):
                status = await self._ask(_request(user, stays), stays)
        except TimeoutError:
            status = GAVE_UP
        except OSError:
            pass
        self.outcomes.append(Outcome(due, loop.time() - due, status))

    async def _ask(self, request: bytes, stays: bool) -> int:
        connection = self._idle() if stays else None
        loop = asyncio.get_running_loop()
        if connection is None:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self.port)
        answer: asyncio.Future[int] = loop.create_future()
        connection.answered = lambda status: None if answer.done() else answer.set_result(status)
        assert connection.transport is not None
        connection.transport.write(request)
        status = BROKEN
        try:
            status = await answer
        finally:
            if stays and status > 0:
                self.idle.append(connection)
            else:
                connection.answered = None
                connection.transport.close()
        return status

    def _idle(self) -> _Connection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None


def _request(user: int, stays: bool) -> bytes:
    body = json.dumps({"user_id": user, "k": 10, "context": CONTEXT}).encode()
    kept = "keep-alive" if stays else "close"
    head = (
        f"POST /v1/recommend HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: {kept}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _offer(port: int, rates: Sequence[tuple[float, float]], patience: float, seed: int) -> list[Outcome]:
    crowd, rng = _Crowd(port, patience), np.random.default_rng(seed)
    moments, begins = [], 0.0
    for rate, seconds in rates:
        moments.append(begins + np.sort(rng.random(rng.poisson(rate * seconds))) * seconds)
        begins += seconds
    loop, under_way = asyncio.get_running_loop(), set()
    start = loop.time()
    for number, moment in enumerate(np.concatenate(moments).tolist()):
        if (pause := start + moment - loop.time()) > 0:
            await asyncio.sleep(pause)
        task = loop.create_task(crowd.one(start + moment, int(rng.integers(USERS)), stays=number % 2 == 0))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    while under_way:
        await asyncio.wait(under_way)
    for connection in crowd.idle:
        if connection.transport is not None:
            connection.transport.close()
    return [Outcome(one.due - start, one.seconds, one.status) for one in crowd.outcomes]


def offer(port: int, rates: Sequence[tuple[float, float]], patience: float, seed: int = 0) -> list[Outcome]:
    """Offer requests for slates at each rate (a second) for so many seconds, one after the other.

    Every other request opens a connection of its own. `patience`: seconds from its moment until a client leaves.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_offer(port, rates, patience, seed))
