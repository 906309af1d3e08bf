"""The wall clock, and the only place that reads it. Everything else takes time as an argument."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time of the world in ms since the epoch, UTC."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000  # noqa: TID251 - this is the one place


class ManualClock:
    """A clock that stands still until it is moved: for tests and for replays."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now_ms(self) -> int:
        return self._now

    def set(self, now: int) -> None:
        """Jump to `now` ms, backwards too, as real clocks do."""
        self._now = now

    def advance(self, ms: int) -> None:
        """Move forward by `ms`. Raises ValueError where it is negative: that is a jump, which `set` makes."""
        if ms < 0:
            raise ValueError(f"cannot advance by {ms} ms: a clock goes forward; use set() for a jump back")
        self._now += ms
