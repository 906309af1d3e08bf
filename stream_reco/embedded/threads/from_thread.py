"""Awaiting what another thread does, with as few turns of the event loop as there can be.

Between two turns the loop gives up the interpreter's lock, and the learning thread takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class FromThread(Generic[T]):
    """Awaits a future that another thread sets; for one task, which goes on in the loop's next turn.

    It has what `asyncio.isfuture` asks of a future, so that a task waits for it without another future between, as
    `asyncio.wrap_future` has.
    """

    _asyncio_future_blocking = False

    def __init__(self, done: Future[T], loop: asyncio.AbstractEventLoop) -> None:
        self._done, self._loop = done, loop
        self._wake: Callable[[], None] | None = None
        self._is_cancelled = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop

    def add_done_callback(self, callback: Callable[[FromThread[T]], object], *, context: Context) -> None:
        """Have the task go on."""

        def wake() -> None:
            if self._wake is not None:
                self._wake = None
                callback(self)

        self._wake = wake
        self._done.add_done_callback(lambda _: self._loop.call_soon_threadsafe(wake, context=context))

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - as in asyncio
        """Have the task go on without a result; what the other thread does is not stopped."""
        if self._wake is None:
            return False
        self._is_cancelled = True
        self._loop.call_soon(self._wake)
        return True

    def result(self) -> T:
        """What the other thread set, or raised."""
        if self._is_cancelled:
            raise asyncio.CancelledError
        return self._done.result()

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()
