"""The partitions that a worker has been given: a task for each, begun anew where it fails, ended where it is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ProducerFenced

from stream_reco import metrics
from stream_reco.clock import Clock
from topologies.connecting import AWAY, let_go
from topologies.partition import PartitionTask
from topologies.partition_clients import PartitionClients
from topologies.role import Role

_LOGGER = logging.getLogger(__name__)
_POLL_MS = 500
_LEAVE_SECONDS = 8.0
"""Within this a task ends by itself: less than the session, or the group would go on without this worker."""
_AGAIN_SECONDS, _SLOWEST_SECONDS = 2.0, 10.0


class Partitions(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the role's group, and works on what it is given."""

    def __init__(
        self, role: Role, folder: Path, clients: PartitionClients, clock: Clock, session_seconds: float
    ) -> None:
        """`folder` is where stores may be, one folder a partition."""
        self._role, self._folder, self._clients, self._clock = role, folder, clients, clock
        self._session_seconds = session_seconds
        self._working: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member of the group until `ending` is set, and leave it once the transactions at hand are over."""
        while not ending.is_set():
            try:
                await self._be_member(ending)
            except AWAY as error:
                _LOGGER.warning("%s: Kafka is away (%r); trying again", self._role.name, error)
                await _pause(ending, _AGAIN_SECONDS)

    async def _be_member(self, ending: asyncio.Event) -> None:
        member = await self._clients.consumer()
        try:
            member.subscribe([self._role.input_topic], listener=self)
            while not ending.is_set():
                # Being a member is all that this consumer is for; each partition has a reader of its own.
                member.pause(*member.assignment())
                await member.getmany(timeout_ms=_POLL_MS, max_records=1)
        finally:
            await self._end_all()
            metrics.WORK_PARTITIONS.labels(self._role.name).set(0)
            await let_go(member)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """Bring all work to an end before others may have the partitions."""
        await self._end_all()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to work on what is assigned."""
        await self._end_all()
        numbers = sorted(one.partition for one in assigned)
        metrics.WORK_PARTITIONS.labels(self._role.name).set(len(numbers))
        _LOGGER.info("%s: works on partitions %s", self._role.name, ", ".join(map(str, numbers)) or "none")
        for number in numbers:
            ending = asyncio.Event()
            self._working[number] = asyncio.create_task(self._keep_working(number, ending)), ending

    async def _end_all(self) -> None:
        working, self._working = list(self._working.values()), {}
        for _, ending in working:
            ending.set()
        tasks = [task for task, _ in working]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_LEAVE_SECONDS)
        for task in late:
            # Its transaction is given up; whoever has the partition next fences it in any case.
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_working(self, number: int, ending: asyncio.Event) -> None:
        """Work on a partition until it is taken; after a failure once more, from what was last made to last."""
        failures = 0
        while not ending.is_set():
            began = self._clock.now_ms()
            task = PartitionTask(self._role, number, self._folder / str(number), self._clients, self._clock, ending)
            try:
                await task.run()
            except ProducerFenced:
                # Somebody else has the partition. If that was a mistake of theirs, they will have noticed by then.
                _LOGGER.warning("%s: partition %d was taken over by another worker", self._role.name, number)
                metrics.WORK_FAILURES.labels(self._role.name, "fenced").inc()
                await _pause(ending, self._session_seconds + 2.0)
            except Exception as error:
                metrics.WORK_FAILURES.labels(self._role.name, type(error).__name__).inc()
                _LOGGER.warning("%s: work on partition %d failed and begins anew: %r", self._role.name, number, error,
                                exc_info=not isinstance(error, AWAY))
                failures = 0 if self._clock.now_ms() - began > 60_000 else failures + 1
                await _pause(ending, min(2.0 ** failures / 2, _SLOWEST_SECONDS))


async def _pause(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return
