"""Which trainer leads: the member of the group that holds the one partition of the topic `trainer-leader`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from stream_reco import metrics
from topologies.client.cancellation import end
from topologies.client.configuration import consumer_arguments
from topologies.client.connection import connect
from topologies.process.group_member import be_member, keep_at
from topologies.trainer.assignor import NewestEpochAssignor
from topologies.trainer.dependencies import NAME, TrainerDependencies
from topologies.trainer.leader import Leader
from topologies.trainer.standby import CheckpointMismatchError

_LOGGER = logging.getLogger(__name__)
_REFRESH_SECONDS = 5.0
"""How often a standby looks for a newer checkpoint."""
_LAST_SECONDS = 20.0
"""How long a leader may take to finish, its last checkpoint included."""


class LeaderElection(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the group, leads while it holds the partition, and keeps the newest checkpoint warm otherwise."""

    def __init__(self, dependencies: TrainerDependencies) -> None:
        self._dependencies = dependencies
        self._assignor = NewestEpochAssignor()
        self._assigned = asyncio.Event()
        self._leading: tuple[asyncio.Task[None], asyncio.Event] | None = None
        self._stopping = asyncio.Event()
        self._problem: CheckpointMismatchError | None = None

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member until `ending` is set; a Kafka that is away is waited for.

        Sets `ending` itself and raises CheckpointMismatchError where the settings do not fit the newest checkpoint.
        """
        self._stopping = ending
        standing_by = asyncio.create_task(self._stand_by())
        try:
            await be_member(NAME, self._dependencies.topics.trainer_leader.name, self._join, self, ending)
        finally:
            standing_by.cancel()
            await asyncio.gather(standing_by, return_exceptions=True)
        if self._problem is not None:
            raise self._problem

    async def _join(self) -> AIOKafkaConsumer:
        kafka = self._dependencies.settings.kafka
        arguments = consumer_arguments(kafka, self._dependencies.group)
        arguments["partition_assignment_strategy"] = (self._assignor,)
        return await connect(kafka, lambda: AIOKafkaConsumer(**arguments))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """Pause until the group has decided who leads."""
        self._assigned.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin or go on leading, or stand by."""
        leads = bool(list(assigned))
        _LOGGER.info("training: %s", "is elected" if leads else "stands by")
        if not leads:
            await self.end_all()
            return
        metrics.WORK_PARTITIONS.labels(NAME).set(1)
        self._assigned.set()
        if self._leading is None:
            ending = asyncio.Event()
            self._leading = asyncio.create_task(self._keep_leading(ending)), ending

    async def end_all(self) -> None:
        """End leading, if it has begun."""
        leading, self._leading = self._leading, None
        self._assigned.clear()
        metrics.WORK_PARTITIONS.labels(NAME).set(0)
        if leading is None:
            return
        task, ending = leading
        ending.set()
        # While kernels are compiled nothing is learned yet, so there is nothing to finish.
        await asyncio.wait([task], timeout=_LAST_SECONDS if self._dependencies.standby.is_rehearsed else 0)
        await end([task])
        await asyncio.gather(task, return_exceptions=True)

    async def _keep_leading(self, ending: asyncio.Event) -> None:
        async def lead() -> None:
            try:
                await Leader(self._dependencies, self._assigned, ending).run(self._remember_epoch)
            except CheckpointMismatchError as problem:
                self._stop(problem)
                ending.set()

        session_seconds = self._dependencies.settings.kafka.session_seconds
        await keep_at(NAME, "leading", lead, self._dependencies.clock, session_seconds, ending)

    def _stop(self, problem: CheckpointMismatchError) -> None:
        """End the process: to try again would not help, and a standby could never take over."""
        self._problem = problem
        self._stopping.set()

    def _remember_epoch(self, epoch: int) -> None:
        self._assignor.epoch = epoch

    async def _stand_by(self) -> None:
        """Keep the newest checkpoint loaded while another trainer leads."""
        await self._dependencies.on_thread(self._dependencies.standby.rehearse)
        while True:
            if self._leading is None:
                try:
                    await self._dependencies.on_thread(self._dependencies.standby.try_refresh)
                except CheckpointMismatchError as problem:
                    self._stop(problem)
                    return
            await asyncio.sleep(_REFRESH_SECONDS)
