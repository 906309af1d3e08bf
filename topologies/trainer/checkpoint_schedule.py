"""When the leader writes a checkpoint: by records, by seconds, and by dead letters that wait."""

from __future__ import annotations

import logging
import time

from stream_reco.storage.checkpoint import CheckpointError
from topologies.client.cancellation import within
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.epoch import Epoch
from topologies.trainer.exchange_log import ExchangeLog
from topologies.trainer.input import TrainingInput
from topologies.trainer.standby import LearnerAtOffsets

_LOGGER = logging.getLogger(__name__)
_MOST_DEAD_LETTERS = 100
"""Dead letters wait in memory for the next checkpoint, each with the whole bad message."""


class CheckpointSchedule:
    """Counts records and seconds since the last checkpoint of this leader, or since it began."""

    def __init__(
        self,
        dependencies: TrainerDependencies,
        epoch: Epoch,
        learner: LearnerAtOffsets,
        training_input: TrainingInput,
        exchange: ExchangeLog | None = None,
    ) -> None:
        """With `exchange` a checkpoint is of what all trainers have learned."""
        self._exchange = exchange
        self._dependencies, self._epoch = dependencies, epoch
        self._learner, self._input = learner, training_input
        self._written_at, self._written_records = time.monotonic(), learner.records

    async def write_if_due(self) -> None:
        """Write one where `training.checkpoint_events` or `training.checkpoint_seconds` have passed."""
        training = self._dependencies.settings.training
        records = self._learner.records - self._written_records
        is_long_ago = time.monotonic() - self._written_at >= training.checkpoint_seconds
        letters = len(self._input.dead_letters)
        if records >= training.checkpoint_events or (records and is_long_ago) or letters >= _MOST_DEAD_LETTERS:
            await self.write()

    async def write_last(self) -> None:
        """Write what no checkpoint holds yet, at the end of the leader's time."""
        if self._learner.records > self._written_records or self._input.dead_letters:
            await self.write()

    async def write(self) -> None:
        """Write what was learned, once Kafka has confirmed that no other trainer leads."""
        if self._exchange is not None:
            await self._exchange.meet()
        self._written_at, self._written_records = time.monotonic(), self._learner.records
        letters = self._input.take_dead_letters()
        await within(2 * self._dependencies.settings.kafka.session_seconds, self._epoch.confirm(letters))
        try:
            await self._dependencies.on_thread(self._write_file)
        except CheckpointError as error:
            # The topics still hold everything; the next attempt is a whole interval away.
            _LOGGER.error("training: %s", error)

    def _write_file(self) -> None:
        learner, examples = self._learner.learner, self._learner.examples
        name = self._dependencies.checkpoints.write(
            self._epoch.number, examples, learner.parts(), self._learner.offsets
        )
        _LOGGER.info("training: wrote %s, %d examples", name, examples)
