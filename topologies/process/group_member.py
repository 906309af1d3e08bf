"""Membership in a consumer group for its assignments alone, and retries of the work that these bring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ProducerFenced

from stream_reco import metrics
from stream_reco.clock import Clock
from topologies.client.cancellation import outcome_before, pause
from topologies.client.connection import AWAY, close
from topologies.client.consumer_metadata import partitions_when_known

_LOGGER = logging.getLogger(__name__)
_POLL_MS = 500
_AGAIN_SECONDS, _SLOWEST_SECONDS = 1.0, 10.0
_FENCED_SPARE_SECONDS = 2.0
_GOOD_MS = 60_000
"""Work that ran for this long before it failed had begun well: the wait before the next attempt is short again."""


class Member(Protocol):
    """A listener of the group's assignments."""

    async def end_all(self) -> None:
        """End all work: the group may assign it to others."""


async def be_member(
    name: str, topic: str, join: Callable[[], Awaitable[AIOKafkaConsumer]], member: Member, ending: asyncio.Event
) -> None:
    """Join the group with a consumer from `join`, subscribed to `topic`, with `member` as its listener.

    Until `ending` is set; waits for a Kafka that is unavailable.
    """
    while not ending.is_set():
        try:
            await _be_member(topic, join, member, ending)
        except AWAY as error:
            _LOGGER.warning("%s: Kafka is unavailable (%r); trying again", name, error)
            await pause(ending, _AGAIN_SECONDS)


async def _be_member(
    topic: str, join: Callable[[], Awaitable[AIOKafkaConsumer]], member: Member, ending: asyncio.Event
) -> None:
    consumer = await outcome_before(ending, _joined(topic, join))
    if consumer is None:
        return
    try:
        consumer.subscribe([topic], listener=member)
        while not ending.is_set():
            # This consumer is only a member; others read what it is assigned.
            consumer.pause(*consumer.assignment())
            await consumer.getmany(timeout_ms=_POLL_MS, max_records=1)
    finally:
        await member.end_all()
        await close(consumer)


async def _joined(topic: str, join: Callable[[], Awaitable[AIOKafkaConsumer]]) -> AIOKafkaConsumer:
    consumer = await join()
    try:
        # The group's leader assigns the partitions that it knows of. A client that knows none because Kafka went away
        # does not refresh its metadata for minutes, and would leave the whole group without partitions.
        await partitions_when_known(consumer, topic)
    except BaseException:
        await close(consumer)
        raise
    return consumer


async def keep_at(
    name: str,
    what: str,
    work: Callable[[], Awaitable[None]],
    clock: Clock,
    session_seconds: float,
    ending: asyncio.Event,
) -> None:
    """Run the work, called `what` in the log, and restart it where it fails, until `ending` is set.

    Fenced work waits longer than a session: another worker has taken over, and if that was by mistake it will have
    noticed by then.
    """
    failures = 0
    while not ending.is_set():
        began = clock.now_ms()
        try:
            await work()
        except ProducerFenced:
            _LOGGER.warning("%s: %s was taken over by another worker", name, what)
            metrics.WORK_FAILURES.labels(name, "fenced").inc()
            await pause(ending, session_seconds + _FENCED_SPARE_SECONDS)
        except Exception as error:
            metrics.WORK_FAILURES.labels(name, type(error).__name__).inc()
            _LOGGER.warning(
                "%s: %s failed and restarts from the last commit: %r",
                name,
                what,
                error,
                exc_info=not isinstance(error, AWAY),
            )
            failures = 0 if clock.now_ms() - began > _GOOD_MS else failures + 1
            await pause(ending, min(2.0**failures / 2, _SLOWEST_SECONDS))
