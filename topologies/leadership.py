"""Who leads: the member of the group that has the one partition of the topic `trainer-leader`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ProducerFenced

from stream_reco import metrics
from topologies.clients import consumer_arguments
from topologies.connecting import AWAY, connected, let_go
from topologies.leading import NAME, Leader, Surroundings
from topologies.standing import rehearse
from topologies.succession import Succession

_LOGGER = logging.getLogger(__name__)
_POLL_MS = 500
_LOOK_SECONDS = 5.0
_LAST_SECONDS = 20.0
"""How long a leader may take to finish, its last checkpoint included."""
_AGAIN_SECONDS, _SLOWEST_SECONDS = 1.0, 10.0


class Leadership(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Takes part in the group, leads while it is told to, and keeps the newest checkpoint warm otherwise."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._succession = Succession()
        self._holds = asyncio.Event()
        self._leading: tuple[asyncio.Task[None], asyncio.Event] | None = None

    async def run(self, ending: asyncio.Event) -> None:
        """Be a member until `ending` is set; a Kafka that is away is waited for."""
        following = asyncio.create_task(self._follow())
        try:
            while not ending.is_set():
                try:
                    await self._be_member(ending)
                except AWAY as error:
                    _LOGGER.warning("training: Kafka is away (%r); trying again", error)
                    await _pause(ending, _AGAIN_SECONDS)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _be_member(self, ending: asyncio.Event) -> None:
        kafka = self._around.settings.kafka
        arguments = consumer_arguments(kafka, NAME)
        arguments["partition_assignment_strategy"] = (self._succession,)
        member: AIOKafkaConsumer = await connected(kafka, lambda: AIOKafkaConsumer(**arguments))
        try:
            member.subscribe([self._around.topics.trainer_leader.name], listener=self)
            while not ending.is_set():
                # Being a member is all that this consumer is for.
                member.pause(*member.assignment())
                await member.getmany(timeout_ms=_POLL_MS, max_records=1)
        finally:
            await self._end()
            await let_go(member)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - it is called so
        """Stand still until it is known who leads."""
        self._holds.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Lead, go on leading, or let it be."""
        leads = bool(list(assigned))
        metrics.WORK_PARTITIONS.labels(NAME).set(int(leads))
        _LOGGER.info("training: %s", "is to lead" if leads else "stands by")
        if not leads:
            await self._end()
            return
        self._holds.set()
        if self._leading is None:
            ending = asyncio.Event()
            self._leading = asyncio.create_task(self._keep_leading(ending)), ending

    async def _end(self) -> None:
        """End leading, if it has begun."""
        leading, self._leading = self._leading, None
        self._holds.clear()
        metrics.WORK_PARTITIONS.labels(NAME).set(0)
        if leading is None:
            return
        task, ending = leading
        ending.set()
        await asyncio.wait([task], timeout=_LAST_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _keep_leading(self, ending: asyncio.Event) -> None:
        """Lead until told to end; after a failure once more, from the last checkpoint."""
        failures = 0
        while not ending.is_set():
            began = self._around.clock.now_ms()
            try:
                await Leader(self._around, self._holds, ending).run(self._leads)
            except ProducerFenced:
                # Somebody else leads. If that is a mistake of theirs, they will have noticed by then.
                _LOGGER.warning("training: another one has taken over")
                metrics.WORK_FAILURES.labels(NAME, "fenced").inc()
                await _pause(ending, self._around.settings.kafka.session_seconds + 2.0)
            except Exception as error:
                metrics.WORK_FAILURES.labels(NAME, type(error).__name__).inc()
                _LOGGER.warning("training: failed, and begins anew from the last checkpoint: %r", error,
                                exc_info=not isinstance(error, AWAY))
                failures = 0 if self._around.clock.now_ms() - began > 60_000 else failures + 1
                await _pause(ending, min(2.0**failures / 2, _SLOWEST_SECONDS))

    def _leads(self, epoch: int) -> None:
        self._succession.epoch = epoch

    async def _follow(self) -> None:
        """Keep the newest checkpoint at hand while another one leads."""
        await self._around.on_thread(rehearse, self._around.settings)
        while True:
            if self._leading is None:
                await self._around.on_thread(self._around.warm.look)
            await asyncio.sleep(_LOOK_SECONDS)


async def _pause(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return
