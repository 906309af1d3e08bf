"""Who leads: the member of the group that has the one partition of the topic `trainer-leader`."""

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
from topologies.trainer.leader import NAME, Leader, TrainerDependencies

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0
_LAST_SECONDS = 20.0
"""How long a leader may take to finish, its last checkpoint included."""


class LeaderElection(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the group, leads while it is told to, and keeps the newest checkpoint warm otherwise."""

    def __init__(self, around: TrainerDependencies) -> None:
        self._around = around
        self._succession = NewestEpochAssignor()
        self._holds = asyncio.Event()
        self._leading: tuple[asyncio.Task[None], asyncio.Event] | None = None

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member until `ending` is set; a Kafka that is away is waited for."""
        following = asyncio.create_task(self._follow())
        try:
            await be_member(NAME, self._around.topics.trainer_leader.name, self._join, self, ending)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _join(self) -> AIOKafkaConsumer:
        kafka = self._around.settings.kafka
        arguments = consumer_arguments(kafka, NAME)
        arguments["partition_assignment_strategy"] = (self._succession,)
        return await connect(kafka, lambda: AIOKafkaConsumer(**arguments))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """Stand still until it is known who leads."""
        self._holds.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Lead, go on leading, or let it be."""
        leads = bool(list(assigned))
        _LOGGER.info("training: %s", "is to lead" if leads else "stands by")
        if not leads:
            await self.end_all()
            return
        metrics.WORK_PARTITIONS.labels(NAME).set(1)
        self._holds.set()
        if self._leading is None:
            ending = asyncio.Event()
            self._leading = asyncio.create_task(self._keep_leading(ending)), ending

    async def end_all(self) -> None:
        """End leading, if it has begun."""
        leading, self._leading = self._leading, None
        self._holds.clear()
        metrics.WORK_PARTITIONS.labels(NAME).set(0)
        if leading is None:
            return
        task, ending = leading
        ending.set()
        # While kernels are compiled nothing is learned yet, so there is nothing to finish.
        await asyncio.wait([task], timeout=_LAST_SECONDS if self._around.warm.is_rehearsed else 0)
        await end([task])
        await asyncio.gather(task, return_exceptions=True)

    async def _keep_leading(self, ending: asyncio.Event) -> None:
        async def lead() -> None:
            await Leader(self._around, self._holds, ending).run(self._leads)

        session_seconds = self._around.settings.kafka.session_seconds
        await keep_at(NAME, "leading", lead, self._around.clock, session_seconds, ending)

    def _leads(self, epoch: int) -> None:
        self._succession.epoch = epoch

    async def _follow(self) -> None:
        """Keep the newest checkpoint at hand while another one leads."""
        await self._around.on_thread(self._around.warm.rehearse)
        while True:
            if self._leading is None:
                await self._around.on_thread(self._around.warm.look)
            await asyncio.sleep(_LOOK_SECONDS)
