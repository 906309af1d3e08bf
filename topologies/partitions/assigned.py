"""The partitions assigned to a worker: a task for each, restarted where it fails, ended where it is revoked."""

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
"""A task may take this long to end by itself: less than the session, or the group would evict this worker."""


class AssignedPartitions(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the consumer group of the worker's kind, and works on the partitions assigned."""

    def __init__(
        self, spec: WorkerSpec, folder: Path, clients: PartitionClients, clock: Clock, session_seconds: float
    ) -> None:
        """`folder` holds the stores, one folder a partition."""
        self._spec, self._folder, self._clients, self._clock = spec, folder, clients, clock
        self._session_seconds = session_seconds
        self._tasks: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member of the group until `ending` is set; leave it once the open transactions are committed."""
        await be_member(self._spec.name, self._spec.input_topic, self._clients.consumer, self, ending)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """End all work before other workers may be assigned the partitions."""
        await self.end_all()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to work on what was assigned."""
        await self.end_all()
        numbers = sorted(one.partition for one in assigned)
        metrics.WORK_PARTITIONS.labels(self._spec.name).set(len(numbers))
        _LOGGER.info("%s: works on partitions %s", self._spec.name, ", ".join(map(str, numbers)) or "none")
        for number in numbers:
            ending = asyncio.Event()
            self._tasks[number] = asyncio.create_task(self._keep_working(number, ending)), ending

    async def end_all(self) -> None:
        """End all work."""
        ended, self._tasks = list(self._tasks.values()), {}
        metrics.WORK_PARTITIONS.labels(self._spec.name).set(0)
        for _, ending in ended:
            ending.set()
        tasks = [task for task, _ in ended]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=_LEAVE_SECONDS)
        # A late one loses its open transaction; the next owner of the partition fences it in any case.
        await end(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_working(self, number: int, ending: asyncio.Event) -> None:
        async def work() -> None:
            folder = self._folder / str(number)
            await PartitionTask(self._spec, number, folder, self._clients, self._clock, ending).run()

        await keep_at(self._spec.name, f"partition {number}", work, self._clock, self._session_seconds, ending)
