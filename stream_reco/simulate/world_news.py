"""What happens in a closed-loop world between two requests: births, deaths, declarations, and what people do later."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import count

from stream_reco.events import Event
from stream_reco.simulate.closed_loop import ClosedLoopWorld

_DECLARATIONS = 20
"""How often within a run people say what they like now."""


class WorldNews:
    """Keeps responses until they are due, and asks the world what else is new."""

    def __init__(self, world: ClosedLoopWorld) -> None:
        self._world = world
        self._later: list[tuple[int, int, Event]] = []
        self._order = count()
        self._stepped: int | None = None
        self._declare_at = world.start_ms

    def schedule(self, events: Iterable[Event]) -> None:
        """Keep events until the times that they have."""
        for event in events:
            heapq.heappush(self._later, (event.timestamp, next(self._order), event))

    def until(self, now: int) -> list[Event]:
        """What has happened since the last call up to `now` (ms), by time."""
        events = self._world.item_events(self._stepped, now)
        self._stepped = now
        if now >= self._declare_at:
            events += self._world.user_events(now)
            self._declare_at += self._world.plan.length_ms // _DECLARATIONS
        while self._later and self._later[0][0] <= now:
            events.append(heapq.heappop(self._later)[2])
        return sorted(events, key=lambda event: event.timestamp)
