"""Runs the sinks of events and slates on a thread with its own event loop, to which their Kafka clients are bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future

from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.events import Event, Id
from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.slate_features import SlateListener
from topologies.gateway.event_sink import KafkaSink
from topologies.gateway.slate_sink import ServedSink
from topologies.topics.declaration import events_key

_LEAVE_SECONDS = 10.0


class SinkThread:
    """A `KafkaSink` for a server with an event loop of its own (`serve.replica_service.EventSink`)."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._loop = asyncio.new_event_loop()
        self._sink = KafkaSink(settings, clock)
        # Where events are keyed by group, a user's events are in many partitions, so slates cannot be joined there.
        self._slates = ServedSink(settings, self._loop) if events_key(settings.labels) == "user_id" else None
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()
        if self._slates is not None:
            self._loop.call_soon_threadsafe(self._slates.start)

    @property
    def watch(self) -> SlateListener | None:
        """Takes slates, whose features go to labelling; None where labelling cannot join them."""
        return None if self._slates is None else self._slates.take

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Resolves once the brokers have the events; fails with UnavailableError where they do not answer."""
        taken: Future[Accepted] = asyncio.run_coroutine_threadsafe(self._sink.accept(events), self._loop)
        return asyncio.wrap_future(taken)

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Resolves once the brokers have the deletion message."""
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._sink.forget(user_id), self._loop)
        return asyncio.wrap_future(done)

    def close(self) -> None:
        """Write waiting slates for a few seconds, close the connections, and end the thread."""
        stopped = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        try:
            stopped.result(_LEAVE_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_LEAVE_SECONDS)
            self._loop.close()

    async def _stop(self) -> None:
        if self._slates is not None:
            await self._slates.stop()
        await self._sink.stop()
