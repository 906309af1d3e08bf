"""When the leader publishes: every sync interval, and at most once a second while nothing is learned."""

from __future__ import annotations

import time

from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.exchange_log import ExchangeLog
from topologies.trainer.input import TrainingInput
from topologies.trainer.model_publisher import ModelPublisher
from topologies.trainer.standby import LearnerAtOffsets

_SHORTEST_IDLE_SECONDS = 1.0
"""Without new records a publication only says that the trainer is alive: once a second is enough."""


class PublishSchedule:
    """Due at once at first, then `sync_seconds` after the last publication."""

    def __init__(
        self,
        dependencies: TrainerDependencies,
        learner: LearnerAtOffsets,
        training_input: TrainingInput,
        publisher: ModelPublisher,
        exchange: ExchangeLog | None = None,
    ) -> None:
        """With `exchange` trainers meet before each publication."""
        self._exchange = exchange
        self._dependencies, self._learner = dependencies, learner
        self._input, self._publisher = training_input, publisher
        self._published_at = -float("inf")
        self._published_records = -1
        """Records learned from as of the last publication."""

    @property
    def ms_until_due(self) -> int:
        """How long the loop may wait for records, from 1 ms to 1 s."""
        left = self._published_at + self._dependencies.sync_seconds - time.monotonic()
        return round(1000 * min(max(left, 0.001), 1.0))

    async def publish_if_due(self, now: int) -> None:
        """Publish on the learning thread where the interval has passed; `now` is the wall clock in ms."""
        records = self._learner.records
        idle = records == self._published_records
        seconds = self._dependencies.sync_seconds
        interval = max(seconds, _SHORTEST_IDLE_SECONDS) if idle else seconds
        if time.monotonic() - self._published_at < interval:
            return
        if not self._learner.learner.now and not self._input.is_at_end:
            # A leader that left no checkpoint may have published: an empty snapshot would take that from the scorers.
            return
        self._published_at, self._published_records = time.monotonic(), records
        await self._input.report_lag()
        if self._exchange is not None:
            await self._exchange.meet()
        await self._dependencies.on_thread(self._publisher.publish, now, idle)
