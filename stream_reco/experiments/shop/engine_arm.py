"""The loop itself as an arm: an engine in memory that gets what a server would be sent, and publishes every second."""

from __future__ import annotations

from collections.abc import Sequence

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Event
from stream_reco.experiments.shop.arm import ArmSlate

_SYNC_MS = 1_000
"""Of event time between two publications, and ticks: what a server does by default."""


class EngineArm:
    """An `Engine` in memory with the settings that are given."""

    def __init__(self, settings: Settings) -> None:
        self.engine = Engine(None, settings)
        self._synced = 0

    def slate(self, user: int, k: int, now: int) -> ArmSlate:
        """Return what the engine recommends at `now`, with all that a client is asked to send back."""
        if now - self._synced >= _SYNC_MS:
            self.engine.tick(now)
            self.engine.sync()
            self._synced = now
        slate = self.engine.recommend(user, k, now=now)
        return ArmSlate(
            [item.item_id for item in slate.items],
            slate.request_id,
            [item.propensity for item in slate.items],
            [item.score for item in slate.items],
        )

    def observe(self, events: Sequence[Event]) -> None:
        """Send events to the engine."""
        if events:
            # A bug of the simulation, not of the engine, would be the reason for a rejection.
            self.engine.ingest(events, strict=True)
