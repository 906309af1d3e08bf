"""The partitions that a worker has been given: a task for each, begun anew where it fails, ended where it is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from aiokafka import ConsumerRebalanceListener, TopicPartition

from stream_reco import metrics
from stream_reco.clock import Clock
from topologies.client.cancellation import end
from topologies.partitions.processor import WorkerSpec
from topologies.partitions.task import PartitionClients, PartitionTask
from topologies.process.group_member import be_member, keep_at

_LOGGER = logging.getLogger(__name__)
_LEAVE_SECONDS = 8.0
"""Within this a task ends by itself: less than the session, or the group would go on without this worker."""


class Partitions(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the role's group, and works on what it is given."""

    def __init__(
        self, role: WorkerSpec, folder: Path, clients: PartitionClients, clock: Clock, session_seconds: float
    ) -> None:
        """`folder` is where stores may be, one folder a partition."""
        self._role, self._folder, self._clients, self._clock = role, folder, clients, clock
        self._session_seconds = session_seconds
        self._working: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member of the group until `ending` is set, and leave it once the transactions at hand are over."""
        await be_member(self._role.name, self._role.input_topic, self._clients.consumer, self, ending)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """Bring all work to an end before others may have the partitions."""
        await self.end_all()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to work on what is assigned."""
        await self.end_all()
        numbers = sorted(one.partition for one in assigned)
        metrics.WORK_PARTITIONS.labels(self._role.name).set(len(numbers))
        _LOGGER.info("%s: works on partitions %s", self._role.name, ", ".join(map(str, numbers)) or "none")
        for number in numbers:
            ending = asyncio.Event()
            self._working[number] = asyncio.create_task(self._keep_working(number, ending)), ending

    async def end_all(self) -> None:
        """Bring all work to an end."""
        working, self._working = list(self._working.values()), {}
        metrics.WORK_PARTITIONS.labels(self._role.name).set(0)
        for _, ending in working:
            ending.set()
        tasks = [task for task, _ in working]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=_LEAVE_SECONDS)
        # The transaction of one that is late is given up; whoever has the partition next fences it in any case.
        await end(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_working(self, number: int, ending: asyncio.Event) -> None:
        async def work() -> None:
            folder = self._folder / str(number)
            await PartitionTask(self._role, number, folder, self._clients, self._clock, ending).run()

        await keep_at(self._role.name, f"partition {number}", work, self._clock, self._session_seconds, ending)
