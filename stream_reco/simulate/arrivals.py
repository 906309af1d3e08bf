"""Arrivals: a Poisson process of requests, in which some users come far more often than others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_reco.simulate.draws import Draw, generator

TICK_MS = 10_000
_DEVICES = ("phone", "desktop", "tablet")


@dataclass(frozen=True)
class Visit:
    """A user asks for a slate at `timestamp`, ms."""

    user_id: int
    timestamp: int
    context: dict[str, str | int | float | bool | None]


class Arrivals:
    """Requests at `per_second` from `start_ms` on, drawn tick by tick: the number of calls does not matter.

    Longer ticks (`tick_ms`) are other requests at the same rate, and faster where few come.
    """

    def __init__(self, seed: int, users: int, per_second: float, start_ms: int, tick_ms: int = TICK_MS) -> None:
        self._seed, self._users, self._per_tick, self._start = seed, users, per_second * tick_ms / 1000.0, start_ms
        self._tick_ms = tick_ms
        activity = generator(seed, Draw.ARRIVALS, 0, 1).exponential(1.0, users)
        self._shares = np.cumsum(activity) / activity.sum()
        self._tick: tuple[int, list[Visit]] = (-1, [])

    def between(self, since: int, until: int) -> list[Visit]:
        """Return the requests with since < timestamp ≤ until, by time."""
        first, last = (max(0, time - self._start) // self._tick_ms for time in (since, until))
        return [
            request
            for tick in range(first, last + 1)
            for request in self._requests(tick)
            if since < request.timestamp <= until
        ]

    def _requests(self, tick: int) -> list[Visit]:
        if self._tick[0] != tick:
            self._tick = (tick, self._draw(tick))
        return self._tick[1]

    def _draw(self, tick: int) -> list[Visit]:
        rng = generator(self._seed, Draw.ARRIVALS, tick, 2)
        count = int(rng.poisson(self._per_tick))
        offsets = np.sort(rng.integers(0, self._tick_ms, count)) + self._start + tick * self._tick_ms
        users = np.searchsorted(self._shares, rng.random(count)).clip(max=self._users - 1)
        devices = rng.choice(len(_DEVICES), size=count, p=(0.6, 0.3, 0.1))
        return [
            Visit(user, at, {"device": _DEVICES[device]})
            for user, at, device in zip(users.tolist(), offsets.tolist(), devices.tolist(), strict=True)
        ]
