"""One arm in one world: it shows, people respond, it learns from that; judged by what is true of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_reco.events import Event, Impression
from stream_reco.experiments.shop.arm import Arm
from stream_reco.experiments.shop.outcome import Outcome
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.world_news import WorldNews

SLATE = 10


class ClosedLoop:
    """Runs an arm in a world for `requests` requests; `watch` is called after each."""

    def __init__(
        self, world: ClosedLoopWorld, arm: Arm, requests: int, watch: Callable[[int], None] = lambda _: None
    ) -> None:
        self.outcome = Outcome(world, SLATE, requests)
        self._requests = requests
        self._world, self._arm, self._watch = world, arm, watch
        self._news = WorldNews(world)

    def run(self) -> Outcome:
        """Let all requests come, and return what they came to."""
        self._arm.observe(self._news.until(self._world.start_ms))
        for visit in self._world.visits(self._requests):
            self._arm.observe(self._news.until(visit.timestamp))
            self._arm.observe(self._shown(visit.user_id, visit.timestamp))
            self._watch(self.outcome.requests)
        return self.outcome

    def _shown(self, user: int, now: int) -> Sequence[Event]:
        """Ask for a slate and show it; returns the impressions and schedules what people do."""
        slate = self._arm.slate(user, SLATE, now)
        # Judged first: people respond to an item once, and the world remembers it.
        self.outcome.judge(user, slate, now)
        events = self._world.respond(
            user, slate.items, now, request_id=slate.request_id, propensities=slate.propensities
        )
        self._news.schedule(events[len(slate.items) :])
        self.outcome.respond(events)
        return [event for event in events if isinstance(event, Impression)]
