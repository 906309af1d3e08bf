"""Watermarks from the full history of calls: slow, but each answer is searched for in all of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

HOUR = 3_600_000


@dataclass(frozen=True)
class Call:
    """One call: what, of which partition, the event time it brought, when, and who is behind."""

    what: Literal["assign", "revoke", "observe", "tick", "merged", "restart"]
    partition: int | str = 0
    timestamp: int = 0
    now: int | None = None
    behind: tuple[int | str, ...] = ()


class Reference:
    """Every method takes the number of calls so far, `end`; a history only grows, so a prefix never changes."""

    def __init__(self, lateness: int, idle: int) -> None:
        self.lateness, self.idle = lateness, idle
        self.history: list[Call] = []
        self.passed = lru_cache(None)(self._passed)
        self.time = lru_cache(None)(self._time)
        self.merged_time = lru_cache(None)(self._merged_time)
        self.began = lru_cache(None)(self._began)
        self.is_idle = lru_cache(None)(self._is_idle)
        self.moves = lru_cache(None)(self._moves)

    def of(self, partition: int | str) -> int | None:
        time = self.time(partition, len(self.history))
        return None if time is None else time - self.lateness

    def merged(self) -> int | None:
        time = self.merged_time(len(self.history))
        return None if time is None else time - self.lateness

    def assigned(self, end: int) -> set[int | str]:
        return {call.partition for at, call in enumerate(self.history[:end]) if self.began(call.partition, end) == at}

    def _began(self, partition: int | str, end: int) -> int | None:
        """When the partition was assigned, first since it was last revoked; None where it is not."""
        mine = [
            (at, call.what)
            for at, call in enumerate(self.history[:end])
            if call.partition == partition and call.what in ("assign", "revoke")
        ]
        revoked = max((at for at, what in mine if what == "revoke"), default=-1)
        return min((at for at, what in mine if at > revoked), default=None)

    def _passed(self, end: int) -> tuple[int, int | None]:
        """Arrival time that has passed, and what the clock has to pass before more of it does."""
        if end == 0:
            return 0, None
        passed, anchor = self.passed(end - 1)
        now = self.history[end - 1].now
        if self.history[end - 1].what == "restart":
            return passed, None
        if now is None:
            return passed, anchor
        if anchor is None or anchor - now > self.idle:
            return passed, now
        return passed + sorted((0, now - anchor, -(-self.idle // 4)))[1], max(now, anchor)

    def _is_idle(self, partition: int | str, end: int) -> bool:
        words = [
            at + 1
            for at, call in enumerate(self.history[:end])
            if call.what == "restart" or (call.what == "observe" and call.partition == partition)
        ]
        began = self.began(partition, end)
        assert began is not None
        return self.passed(end)[0] - self.passed(max([began + 1, *words]))[0] >= self.idle

    def _time(self, partition: int | str, end: int) -> int | None:
        """The highest event time of the partition, and of the ticks that moved it."""
        began = self.began(partition, end)
        assert began is not None
        times = []
        for at, call in enumerate(self.history[:end]):
            if at <= began:
                continue
            if call.what == "observe" and call.partition == partition:
                times.append(call.timestamp)
            if call.what == "tick" and call.now is not None and self.moves(partition, at):
                times.append(call.now)
        return max(times, default=None)

    def _moves(self, partition: int | str, at: int) -> bool:
        """Whether the tick at `at` may move the partition."""
        tick = self.history[at]
        assert tick.now is not None
        times = {one: self.time(one, at) for one in self.assigned(at)}
        live = {one for one, time in times.items() if time is not None and -HOUR <= time - tick.now <= HOUR}
        if partition in tick.behind or times[partition] is None or not live:
            return False
        return partition in live or self.is_idle(partition, at + 1)

    def _merged_time(self, end: int) -> int | None:
        """The highest that was ever the lowest of those not idle when it was asked for."""
        found: list[int] = []
        for at, call in enumerate(self.history[:end]):
            if call.what == "merged":
                times = {one: self.time(one, at) for one in self.assigned(at)}
                awake = [time for one, time in times.items() if not self.is_idle(one, at + 1)]
                reached = [time for time in times.values() if time is not None]
                if awake and None not in awake:
                    found.append(min(time for time in awake if time is not None))
                elif not awake and reached:
                    found.append(max(reached))
        return max(found, default=None)
