"""The leader's loop: read, learn, let time pass, and publish or write a checkpoint where that is due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stream_reco.labels import Example
from stream_reco.measure.stages import LIVE_MS, observe_stage
from topologies.client.cancellation import is_done_before
from topologies.trainer.checkpoint_schedule import CheckpointSchedule
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.input import TrainingInput, TrainingRecord
from topologies.trainer.publish_schedule import PublishSchedule
from topologies.trainer.standby import LearnerAtOffsets

_BATCH_RECORDS = 64
"""Records learned from between two looks at the schedules."""
_WAIT_MS = 200
"""The longest wait for records."""
_TICK_MS = 1_000


class TrainingLoop:
    """Runs until `ending`; pauses while `assigned` is not set, as the group is deciding who leads."""

    def __init__(
        self,
        dependencies: TrainerDependencies,
        learner: LearnerAtOffsets,
        training_input: TrainingInput,
        publishing: PublishSchedule,
        checkpoints: CheckpointSchedule,
    ) -> None:
        self._dependencies, self._learner, self._input = dependencies, learner, training_input
        self._publishing, self._checkpoints = publishing, checkpoints
        self._ticked_at = 0

    async def run(self, assigned: asyncio.Event, ending: asyncio.Event) -> None:
        """Raises what reading, learning or confirming the epoch raises; ProducerFenced among it."""
        while not ending.is_set():
            if not assigned.is_set():
                await is_done_before(ending, assigned.wait())
                continue
            now = self._dependencies.clock.now_ms()
            await self._learn(now)
            # A rebalance may have begun meanwhile.
            if assigned.is_set() and not ending.is_set():
                await self._publishing.publish_if_due(now)
                await self._checkpoints.write_if_due()

    async def _learn(self, now: int) -> None:
        await self._input.fetch(min(_WAIT_MS, self._publishing.ms_until_due), now)
        records = self._input.take(_BATCH_RECORDS)
        if records:
            for failed in await self._dependencies.on_thread(self._learner.learn, records):
                self._input.give_up(failed.message, "internal", "it could not be learned from", now)
            self._observe_trained(records)
        elif self._input.is_at_end:
            await self._input.skip_markers(self._learner.offsets)
            await self._tick(now)

    def _observe_trained(self, records: Sequence[TrainingRecord]) -> None:
        now = self._dependencies.clock.now_ms()
        for record in records:
            if isinstance(record.content, Example) and record.content.action is not None:
                observe_stage("trained", record.content.label_time, now)

    async def _tick(self, now: int) -> None:
        """Let time pass where nothing is left to read, once the log has come near the present."""
        stream_time = self._learner.learner.now
        if now - self._ticked_at >= _TICK_MS and stream_time < now <= stream_time + LIVE_MS:
            self._ticked_at = now
            await self._dependencies.on_thread(self._learner.learner.tick, now)
