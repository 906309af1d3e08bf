"""Whether the event loop of a worker still turns: it beats there, and whoever asks looks from another thread."""

from __future__ import annotations

import asyncio
import time

_BEAT_SECONDS = 1.0
_SILENT_SECONDS = 60.0
"""Six times a session's default: whoever hangs for so long has lost its partitions anyway. It leaves time for kernels
that are compiled on the loop at the first record."""


class Heartbeat:
    """Beats from the first `beat` to `end`; before and after it there is no loop that could hang.

    A server that is away stops no beat: it is waited for on the loop.
    """

    def __init__(self, silent_seconds: float = _SILENT_SECONDS) -> None:
        """After so long without a beat it is taken for dead."""
        self.silent_seconds = silent_seconds
        self._beaten: float | None = None

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beaten = time.monotonic()
            await asyncio.sleep(min(_BEAT_SECONDS, self.silent_seconds / 4))

    def end(self) -> None:
        """The loop is about to end by itself."""
        self._beaten = None

    @property
    def silence(self) -> float:
        """Seconds since the last beat; 0 where none is due."""
        beaten = self._beaten
        return 0.0 if beaten is None else time.monotonic() - beaten

    @property
    def is_alive(self) -> bool:
        return self.silence < self.silent_seconds
