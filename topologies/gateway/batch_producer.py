"""Sends messages to one topic in batches: those that arrive while a batch is in flight make up the next one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from stream_reco.config.servers import KafkaSettings
from topologies.client.configuration import ClientSettingsError, producer_arguments
from topologies.client.connection import AWAY, KafkaUnavailableError, close, connect, reason_of
from topologies.topics.declaration import EventsKey, declared_topics
from topologies.topics.validation import TopicsError, required

Message = tuple[bytes | None, bytes]
"""Key and value."""
_MOST_MESSAGES = 20_000
"""Of one batch."""


@dataclass
class _Waiting:
    messages: Sequence[Message]
    sent: asyncio.Future[None]


class Sender:
    """Sends messages to a topic until all in-sync replicas have them; its own retries duplicate none.

    It connects at the first message, and again after a failure; it validates the topic each time. Where nothing was
    confirmed for `timeout` seconds, waiting messages fail, and so do later ones at once while Kafka is known to be
    unavailable.
    """

    def __init__(self, kafka: KafkaSettings, events_key: EventsKey, topic: str, timeout: float = 5.0) -> None:
        """`topic` is a field of `Topics`, such as `events`."""
        self.topic: str = getattr(declared_topics(kafka, events_key), topic).name
        self._kafka, self._events_key, self._used, self._timeout = kafka, events_key, topic, timeout
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._healthy = True
        self._anywhere = count()
        self._leaving: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages; returns when all are confirmed. Messages of one key keep their order.

        Raises `KafkaUnavailableError`, `TopicsError` or `ClientSettingsError`; some messages may have been written
        nevertheless.
        """
        if not messages:
            return
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        waiting = _Waiting(messages, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._filled.set()
        await waiting.sent

    async def stop(self) -> None:
        """Fail what waits, and close the connections."""
        if self._working is not None:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
        self._fail(self._take(all_of_it=True), KafkaUnavailableError("the sender was stopped"))
        self._drop_producer()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while taken := self._take():
                try:
                    await self._deliver([message for waiting in taken for message in waiting.messages])
                except BaseException as error:
                    self._healthy = False
                    self._drop_producer()
                    if not isinstance(error, (*AWAY, KafkaUnavailableError, TopicsError, ClientSettingsError)):
                        self._fail(taken, KafkaUnavailableError(f"the sender has stopped: {error!r}"))
                        raise
                    # Later callers would only wait as long for the same error.
                    self._fail(taken + self._take(all_of_it=True), error)
                else:
                    self._healthy = True
                    for waiting in taken:
                        if not waiting.sent.done():
                            waiting.sent.set_result(None)

    def _take(self, *, all_of_it: bool = False) -> list[_Waiting]:
        taken: list[_Waiting] = []
        messages = 0
        while self._queue and (all_of_it or messages < _MOST_MESSAGES):
            waiting = self._queue.popleft()
            if not waiting.sent.done():  # its caller has not given up
                taken.append(waiting)
                messages += len(waiting.messages)
        return taken

    def _fail(self, waiting: list[_Waiting], error: BaseException) -> None:
        if isinstance(error, AWAY):
            late = isinstance(error, asyncio.TimeoutError)
            reason = f"{self._timeout:g} s have passed" if late else reason_of(error)
            error = KafkaUnavailableError(f"Kafka at {self._kafka.bootstrap} has not confirmed the messages: {reason}")
        for each in waiting:
            if not each.sent.done():
                each.sent.set_exception(error)

    async def _deliver(self, messages: list[Message]) -> None:
        producer = self._producer or await self._connect()
        homes = await asyncio.wait_for(producer.partitions_for(self.topic), self._timeout)
        by_partition: dict[int, list[Message]] = defaultdict(list)
        for message in messages:
            key = message[0]
            home = next(self._anywhere) % len(homes) if key is None else partition_of(key, len(homes))
            by_partition[home].append(message)
        sending = [self._send_to(producer, home, part) for home, part in by_partition.items()]
        await asyncio.wait_for(asyncio.gather(*sending), self._timeout)

    async def _connect(self) -> AIOKafkaProducer:
        timeout = self._timeout if self._healthy else 0.0
        self._producer = await connect(
            self._kafka, lambda: AIOKafkaProducer(**producer_arguments(self._kafka)), timeout
        )
        checking = required(self._kafka, self._events_key, self._timeout, self._used)
        await asyncio.wait_for(checking, self._timeout)
        return self._producer

    async def _send_to(self, producer: AIOKafkaProducer, home: int, messages: list[Message]) -> None:
        confirmed: list[asyncio.Future[object]] = []

        async def submit() -> None:
            confirmed.append(await producer.send_batch(batch, self.topic, partition=home))
            confirmed[-1].add_done_callback(_looked_at)

        batch = producer.create_batch()
        for key, value in messages:
            while batch.append(key=key, value=value, timestamp=None) is None:
                await submit()
                batch = producer.create_batch()
        await submit()
        await asyncio.gather(*confirmed)

    def _drop_producer(self) -> None:
        # After a failure it may still buffer messages that were given up; a new one begins empty.
        if self._producer is not None:
            leaving = asyncio.create_task(close(self._producer, timeout=0.1))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            self._producer = None


def _looked_at(future: asyncio.Future[object]) -> None:
    """Otherwise asyncio logs that the exceptions of messages given up were never retrieved."""
    if not future.cancelled():
        future.exception()


@lru_cache(maxsize=1 << 16)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's default partitioner computes it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
