"""The memory of request bodies: one budget for the process, and turns for what is made of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stream_reco.metrics import BODY_BYTES

DECODED_BYTES = 16 * 1024 * 1024
"""Bodies whose events are decoded and not yet durable: events take up to twenty times the memory of their JSON."""


class BodyMemory:
    """Bytes of the bodies that are held, at most `limit`. For the thread of the event loop only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def hold(self) -> HeldBody:
        """The memory of one body, of no bytes yet."""
        return HeldBody(self)

    def take(self, size: int, own: int) -> bool:
        """Take `size` bytes for a body that has `own`; False, and none are taken, where the budget has not as many.

        A body that is alone is read however small the budget is: `serve.max_body_bytes` limits it.
        """
        if self._held > own and self._held + size > self._limit:
            return False
        self.give(-size)
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._held -= size
        BODY_BYTES.set(self._held)


class HeldBody:
    """What one body has of the budget."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._size = 0

    def grow(self, size: int) -> bool:
        """Have `size` bytes in all, where that is more; False where the budget does not allow it."""
        if size > self._size:
            if not self._memory.take(size - self._size, self._size):
                return False
            self._size = size
        return True

    def release(self) -> None:
        """Give all of it back."""
        if self._size:
            self._memory.give(self._size)
            self._size = 0


class DecodingTurns:
    """Lets bodies through in their order while those under way are at most `limit` bytes; a longer one goes alone."""

    def __init__(self, limit: int = DECODED_BYTES) -> None:
        self._limit = limit
        self._under_way = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Wait for the turn of a body of `size` bytes, which ends with the context."""
        if self._waiting or not self._fits(size):
            await self._wait(size)
        else:
            self._under_way += size
        try:
            yield
        finally:
            self._end(size)

    def _fits(self, size: int) -> bool:
        return self._under_way == 0 or self._under_way + size <= self._limit

    async def _wait(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(size)
            raise

    def _end(self, size: int) -> None:
        self._under_way -= size
        while self._waiting and (self._waiting[0][1].cancelled() or self._fits(self._waiting[0][0])):
            waited, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._under_way += waited
                turn.set_result(None)
