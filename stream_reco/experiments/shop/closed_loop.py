"""One arm in one world: it shows, people respond, it learns from that; judged by what is true of the world."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count

from stream_reco.events import Event, Impression
from stream_reco.experiments.shop.arm import Arm
from stream_reco.experiments.shop.outcome import Outcome
from stream_reco.simulate.closed_loop import ClosedLoopWorld

SLATE = 10
_DECLARATIONS = 20
"""How often within a run people say what they like now."""


class ClosedLoop:
    """Runs an arm in a world for `requests` requests; `watch` is called after each."""

    def __init__(
        self, world: ClosedLoopWorld, arm: Arm, requests: int, watch: Callable[[int], None] = lambda _: None
    ) -> None:
        self.outcome = Outcome(world, SLATE, requests)
        self._requests = requests
        self._world, self._arm, self._watch = world, arm, watch
        self._later: list[tuple[int, int, Event]] = []
        self._order = count()
        self._stepped: int | None = None
        self._declare_at = world.start_ms

    def run(self) -> Outcome:
        """Let all requests come, and return what they came to."""
        self._arm.observe(self._news(self._world.start_ms))
        for visit in self._world.visits(self._requests):
            self._arm.observe(self._news(visit.timestamp))
            self._arm.observe(self._shown(visit.user_id, visit.timestamp))
            self._watch(self.outcome.requests)
        return self.outcome

    def _news(self, now: int) -> list[Event]:
        """What happened since the last call: births, deaths, declarations and the actions that are due, by time."""
        events = self._world.item_events(self._stepped, now)
        self._stepped = now
        if now >= self._declare_at:
            events += self._world.user_events(now)
            self._declare_at += self._world.plan.length_ms // _DECLARATIONS
        while self._later and self._later[0][0] <= now:
            events.append(heapq.heappop(self._later)[2])
        return sorted(events, key=lambda event: event.timestamp)

    def _shown(self, user: int, now: int) -> Sequence[Event]:
        """Ask for a slate and show it; returns the impressions and schedules what people do."""
        slate = self._arm.slate(user, SLATE, now)
        # Judged first: people respond to an item once, and the world remembers it.
        self.outcome.judge(user, slate, now)
        events = self._world.respond(
            user, slate.items, now, request_id=slate.request_id, propensities=slate.propensities
        )
        for event in events[len(slate.items) :]:
            heapq.heappush(self._later, (event.timestamp, next(self._order), event))
        self.outcome.respond(events)
        return [event for event in events if isinstance(event, Impression)]
