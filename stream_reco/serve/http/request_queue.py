"""The queue of requests that must be computed: bounded by number and by age, newest first under pressure.

A request that comes alone is computed on the event loop's thread, at once. Where others wait, one thread computes
portion after portion, and the loop goes on reading: it sees what comes and who leaves, refuses, and answers what needs
no computing. Requests that cannot be
answered in time are refused early, because a server that computes for clients that have given up answers nobody:
newest first while the oldest waits for too long is the adaptive LIFO of Maurer, "Fail at Scale" (ACM Queue 13(8),
2015), and 0.1 s of waiting as the sign of a queue that does not drain is the interval of Nichols and Jacobson,
"Controlling Queue Delay" (ACM Queue 10(5), 2012).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from stream_reco.metrics import QUEUE_SECONDS, QUEUED_REQUESTS, SHED_REQUESTS
from stream_reco.serve.http.messages import (
    RETRY_AFTER,
    DisconnectedError,
    HttpError,
    HttpRequest,
    HttpResponse,
    Receive,
    error_response,
    received,
)
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Slate

SLATES_AT_ONCE = 8
"""Slates that are computed together: eight take some four times as long as one; more gain little and delay others."""
PRESSURE_SECONDS = 0.1
"""While the oldest request has waited for longer than this, the newest is computed first."""
QUIET_TURNS = 4
"""Turns of the loop without a request after which nothing is left to be read: in one a connection is accepted, in the
next it is made, then read, then answered. uvloop accepts a single connection a turn: with fewer turns than connections
requests would grow old where nobody sees them."""
LISTENING_SECONDS = 0.02
"""Between two portions at most, so that a flood of requests to refuse leaves time to compute."""
MESSAGES_READ = 3
"""Of a client that may have gone; before it waits, a server gives at most an empty body and the end."""

T = TypeVar("T")
_Outcome = tuple[object, Exception | None]
Slates = Callable[[Sequence[Request]], Sequence[Slate]]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request in the queue: a slate that is wanted, or a call that computes something else."""

    wanted: Request | Callable[[], object]
    receive: Receive
    arrived: float
    answer: asyncio.Future[Any]


class RequestQueue:
    """Has requests computed, one portion at a time; `slates` makes several slates at once, on whichever thread.

    For one event loop, and to be called on its thread.
    `elapsed` gives the seconds by which ages are measured, those of `HttpRequest.arrived`.
    """

    def __init__(
        self, slates: Slates, settings: ServeSettings, elapsed: Callable[[], float] = time.perf_counter
    ) -> None:
        self._slates = slates
        self._most = settings.queue_requests
        self._seconds = settings.queue_seconds
        self._pressure_seconds = min(PRESSURE_SECONDS, settings.queue_seconds / 2)
        self._elapsed = elapsed
        self._waiting: deque[_Waiting] = deque()
        self._turning = False
        self._thread = ThreadPoolExecutor(1, "computing")
        self._seen = False
        self._quiet, self._listen_until = 0, 0.0
        message = f"{self._most} requests wait already: try again after the seconds in Retry-After"
        self._full = HttpError(503, "overloaded", message, RETRY_AFTER)
        self._refusal = error_response(self._full)
        self._full_counter = SHED_REQUESTS.labels("full")

    def notice(self) -> None:
        """Note that a request has come, of whatever kind: there may be more to be read before the next portion."""
        self._seen = True

    def refusal(self) -> HttpResponse | None:
        """The answer to a request that finds the queue full, which costs next to nothing; None if there is room."""
        if len(self._waiting) < self._most:
            return None
        self._full_counter.inc()
        return self._refusal

    async def slate(self, request: HttpRequest, wanted: Request) -> Slate:
        """The slate for one request; raises what `compute` raises."""
        slate: Slate = await self._enqueue(request, wanted)
        return slate

    async def compute(self, request: HttpRequest, call: Callable[[], T]) -> T:
        """What `call` returns, when its turn has come.

        Raises `HttpError` 503 where there is no room or it waited too long, `DisconnectedError` where the client has
        gone, and what `call` raises.
        """
        result: T = await self._enqueue(request, call)
        return result

    def _enqueue(self, request: HttpRequest, wanted: Request | Callable[[], object]) -> asyncio.Future[Any]:
        if self.refusal() is not None:  # it filled up while the body was read
            raise HttpError(self._full.status, self._full.reason, str(self._full), self._full.headers)
        loop = asyncio.get_running_loop()
        one = _Waiting(wanted, request.receive, request.arrived, loop.create_future())
        self._waiting.append(one)
        QUEUED_REQUESTS.set(len(self._waiting))
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn, loop)
        return one.answer

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._elapsed()
        self._shed_late(now)
        portion = self._take(now)
        QUEUED_REQUESTS.set(len(self._waiting))
        if self._waiting or len(portion) > 1:
            # One that is alone is not handed to the thread and back: that takes as long as some per cent of a slate.
            computed = loop.run_in_executor(self._thread, _outcomes, portion, self._slates)
            computed.add_done_callback(partial(self._computed, loop, portion))
            return
        _deliver(portion, _outcomes(portion, self._slates) if portion else ())
        self._quiet, self._listen_until = 0, self._elapsed() + LISTENING_SECONDS
        loop.call_soon(self._listen, loop)

    def _computed(
        self, loop: asyncio.AbstractEventLoop, portion: list[_Waiting], computed: asyncio.Future[list[_Outcome]]
    ) -> None:
        _deliver(portion, computed.result())
        self._next(loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting:
            self._turn(loop)
        else:
            self._turning = False

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop read its sockets until nothing comes any more, and then compute the next portion, if any.

        What came while a portion was computed is read before the next one even where the queue is empty: it would be
        computed one by one else, however many wait behind it.
        """
        self._quiet = 0 if self._seen else self._quiet + 1
        self._seen = False
        if self._quiet < QUIET_TURNS and self._elapsed() < self._listen_until:
            loop.call_soon(self._listen, loop)
        else:
            self._next(loop)

    def _shed_late(self, now: float) -> None:
        while self._waiting and now - self._waiting[0].arrived > self._seconds:
            late = self._waiting.popleft()
            if not late.answer.done():
                SHED_REQUESTS.labels("late").inc()
                message = (
                    f"no answer was possible within {self._seconds:g} s: try again after the seconds in Retry-After"
                )
                late.answer.set_exception(HttpError(503, "overloaded", message, RETRY_AFTER))

    def _take(self, now: float) -> list[_Waiting]:
        """Those that are computed next: one, or several that want slates."""
        portion: list[_Waiting] = []
        newest_first = bool(self._waiting) and now - self._waiting[0].arrived > self._pressure_seconds
        while self._waiting and len(portion) < SLATES_AT_ONCE:
            one = self._waiting[-1 if newest_first else 0]
            if portion and not (isinstance(one.wanted, Request) and isinstance(portion[0].wanted, Request)):
                break
            if newest_first:
                self._waiting.pop()
            else:
                self._waiting.popleft()
            if one.answer.done():  # its task was cancelled
                continue
            if has_gone(one.receive):
                SHED_REQUESTS.labels("gone").inc()
                one.answer.set_exception(DisconnectedError())
                continue
            QUEUE_SECONDS.observe(now - one.arrived)
            portion.append(one)
        return portion


def has_gone(receive: Receive) -> bool:
    """Whether the client has disconnected, without waiting."""
    for _ in range(MESSAGES_READ):
        message = received(receive)
        if message is None:
            return False
        if message["type"] == "http.disconnect":
            return True
    return False


def _outcomes(portion: Sequence[_Waiting], slates: Slates) -> list[_Outcome]:
    """Compute a portion; where slates fail together each is made alone, so that an error is only its own request's."""
    try:
        return [(answer, None) for answer in _compute(portion, slates)]
    except Exception as error:  # any error becomes the answer of the request that caused it
        if len(portion) == 1:
            return [(None, error)]
        return [_outcomes([one], slates)[0] for one in portion]


def _compute(portion: Sequence[_Waiting], slates: Slates) -> Sequence[object]:
    if len(portion) == 1 and not isinstance(portion[0].wanted, Request):
        return [portion[0].wanted()]
    return slates([one.wanted for one in portion if isinstance(one.wanted, Request)])


def _deliver(portion: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
    for one, (answer, error) in zip(portion, outcomes, strict=True):
        if one.answer.done():  # its task was cancelled meanwhile
            continue
        if error is None:
            one.answer.set_result(answer)
        else:
            one.answer.set_exception(error)
