"""The sink of events on a thread of its own: its clients of Kafka live and end there, whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future

from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.events import Event, Id
from stream_reco.serve.api_service import Accepted
from topologies.sink import KafkaSink

_LEAVE_SECONDS = 10.0


class SinkThread:
    """A `KafkaSink` for a server with an event loop of its own (`serve.replica_service.EventSink`)."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._loop = asyncio.new_event_loop()
        self._sink = KafkaSink(settings, clock)
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Resolves once the brokers have them; fails with UnavailableError where they cannot be had."""
        taken: Future[Accepted] = asyncio.run_coroutine_threadsafe(self._sink.accept(events), self._loop)
        return asyncio.wrap_future(taken)

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Resolves once the brokers have the message that says so; whoever reads it forgets the user."""
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._sink.forget(user_id), self._loop)
        return asyncio.wrap_future(done)

    def close(self) -> None:
        """Let go of Kafka, and end."""
        stopped = asyncio.run_coroutine_threadsafe(self._sink.stop(), self._loop)
        try:
            stopped.result(_LEAVE_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_LEAVE_SECONDS)
            self._loop.close()
