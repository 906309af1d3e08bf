"""Sends slates to Kafka in the background; drops them where Kafka is unavailable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.serve.slate.slate_features import SlateFeatures
from topologies.client.configuration import ClientSettingsError
from topologies.client.connection import KafkaUnavailableError
from topologies.gateway.batch_producer import Sender
from topologies.messages.keys import id_key
from topologies.messages.served_slate import encode_slate
from topologies.topics.declaration import events_key
from topologies.topics.validation import TopicsError

_LOGGER = logging.getLogger(__name__)
_MOST_WAITING = 2000
"""Slates in the queue; one of ten items takes some 30 kB."""
_AT_ONCE = 200
_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 5.0
"""How long `stop` waits until the queue is written."""


class ServedSink:
    """Takes slates from any thread and writes them on the event loop `loop`."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, timeout: float = 5.0) -> None:
        """It needs `settings.kafka.bootstrap`; `timeout` is in seconds."""
        self._loop = loop
        self._sender = Sender(settings.kafka, events_key(settings.labels), "served", timeout)
        self._queue: deque[SlateFeatures] = deque()
        self._filled, self._woken = asyncio.Event(), False
        self._working: asyncio.Task[None] | None = None
        self._ending = self._ended = False

    def start(self) -> None:
        """Begin to write; to be called on the loop's thread."""
        self._working = self._loop.create_task(self._work())

    def take(self, slate: SlateFeatures) -> None:
        """Queue a slate, or drop it where the queue is full. From any thread; never raises or blocks."""
        if self._ended or len(self._queue) >= _MOST_WAITING:
            metrics.SERVED_SLATES.labels("dropped").inc()
            return
        self._queue.append(slate)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is about to end
                self._loop.call_soon_threadsafe(self._filled.set)

    async def stop(self) -> None:
        """Write the queue for a few seconds, drop what is left, and close the connections."""
        self._ending = True
        self._filled.set()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=_LAST_SECONDS)
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
        self._ended = True
        await self._sender.stop()
        if self._queue:
            self._drop(len(self._queue), f"{_LAST_SECONDS:g} s have passed since the server began to shut down")

    async def _work(self) -> None:
        while not (self._ending and not self._queue):
            await self._filled.wait()
            self._filled.clear()
            self._woken = (
                False  # before reading the queue: a `take` that finds it set has queued its slate before this line
            )
            while self._queue:
                slates = [self._queue.popleft() for _ in range(min(len(self._queue), _AT_ONCE))]
                await self._write(slates)

    async def _write(self, slates: list[SlateFeatures]) -> None:
        try:
            messages = [(id_key(slate.user_id), encode_slate(slate)) for slate in slates]
            await self._sender.send(messages)
        except (KafkaUnavailableError, TopicsError, ClientSettingsError) as error:
            await self._lost(slates, error)
        except Exception as error:  # one bad slate must not end the writing of later ones
            _LOGGER.exception("slates could not be written")
            await self._lost(slates, error)
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(slates))
            raise
        else:
            metrics.SERVED_SLATES.labels("written").inc(len(slates))

    async def _lost(self, slates: list[SlateFeatures], error: Exception) -> None:
        self._drop(len(slates), str(error))
        if not self._ending:
            await asyncio.sleep(_AGAIN_SECONDS)

    def _drop(self, count: int, why: str) -> None:
        metrics.SERVED_SLATES.labels("dropped").inc(count)
        _LOGGER.warning("the features of %d slates are lost, and their examples will have late ones: %s", count, why)
