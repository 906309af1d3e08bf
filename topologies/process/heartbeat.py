"""Whether a worker's event loop still runs: it beats on the loop, and is read from other threads."""

from __future__ import annotations

import asyncio
import time

_BEAT_SECONDS = 1.0
_SILENT_SECONDS = 60.0
"""Six times the default session timeout: a loop that hangs for this long has lost its partitions anyway. It leaves time
for kernels that are compiled on the loop at the first record."""


class Heartbeat:
    """Beats from the first `beat` to `end`; before and after there is no loop that could hang.

    It goes on while a server is unavailable, as the loop waits without blocking.
    """

    def __init__(self, silent_seconds: float = _SILENT_SECONDS) -> None:
        """`silent_seconds`: without a beat for this long the loop counts as hung."""
        self.silent_seconds = silent_seconds
        self._beaten: float | None = None

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beaten = time.monotonic()
            await asyncio.sleep(min(_BEAT_SECONDS, self.silent_seconds / 4))

    def end(self) -> None:
        """To be called before the loop ends regularly."""
        self._beaten = None

    @property
    def silence(self) -> float:
        """Seconds since the last beat; 0 while none is expected."""
        beaten = self._beaten
        return 0.0 if beaten is None else time.monotonic() - beaten

    @property
    def is_alive(self) -> bool:
        return self.silence < self.silent_seconds
