"""A learner behind the HTTP API: one thread writes the log, one learns."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import msgspec

from stream_reco.clock import Clock, SystemClock
from stream_reco.embedded.journal import records
from stream_reco.embedded.learning_engine import LearningEngine
from stream_reco.embedded.mirror import Mirror
from stream_reco.embedded.threads.from_thread import FromThread
from stream_reco.embedded.threads.learner_thread import LearnerThread
from stream_reco.embedded.threads.log_writer import LogWriterThread
from stream_reco.embedded.threads.opened_memory import filling_memory, settle
from stream_reco.embedded.threads.request_priority import RequestPriority
from stream_reco.events import Event, Id
from stream_reco.events.packed import EventBatch, PackedEvents
from stream_reco.serve.service import Accepted, UnavailableError
from stream_reco.serve.status import Status, starting_status
from stream_reco.storage.checkpoint import CheckpointError

_LOGGER = logging.getLogger(__name__)
_SWITCH_SECONDS = 5e-5
"""Longest turn of a thread in the interpreter; with Python's default of 5 ms a request would wait several of these."""
_OPENING_SECONDS = 2.0
"""How long `close` waits for an opening that is under way."""
Opened = TypeVar("Opened", bound=LearningEngine)


class LearnerService(Generic[Opened]):
    """The embedded loop without its answers: what takes events.

    `open_engine` is called on a thread of its own by `start`, so that a server answers `/health` while kernels are
    compiled and a log is replayed. `sync_seconds` of wall time lie between two publications, from 0.1.
    """

    def __init__(
        self,
        open_engine: Callable[[], Opened],
        *,
        sync_seconds: float = 1.0,
        clock: Clock | None = None,
        mirror: Callable[[Opened], Mirror] | None = None,
    ) -> None:
        """`mirror` makes what shows the engine to other processes, which answer requests in place of this one."""
        if not sync_seconds >= 0.1:
            raise ValueError(f"the sync interval is {sync_seconds} s: it must be at least 0.1 s")
        self._open_engine = open_engine
        self._mirror_of = mirror
        self._sync_seconds = sync_seconds
        self._clock = clock or SystemClock()
        self._priority = RequestPriority()
        self._engine: Opened | None = None
        self._parts: tuple[LogWriterThread, LearnerThread] | None = None
        self._opened: Future[Opened] = Future()
        self._opener = threading.Thread(target=self._open, name="opening", daemon=True)

    def start(self) -> None:
        """Begin to open the engine; `opened` is done when that has worked or failed."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._opener.start()

    @property
    def opened(self) -> Future[Opened]:
        """The engine once it answers; fails with what the opening failed with."""
        return self._opened

    def _open(self) -> None:
        try:
            with filling_memory():
                engine = self._open_engine()
                if not engine.status()["version"]:
                    engine.sync()
            if (clock_problem := engine.clock_problem) is not None:
                _LOGGER.warning("%s", clock_problem)
            self._parts = self._begin(engine)
        except BaseException as error:
            self._opened.set_exception(error)
            return
        settle()
        self._engine = engine
        self._opened.set_result(engine)

    def _begin(self, engine: Opened) -> tuple[LogWriterThread, LearnerThread]:
        """Start the threads that write and learn, and what they show or keep up beside it."""
        mirror = None if self._mirror_of is None else self._mirror_of(engine)
        journaled = engine.journaled
        journaled.follow()
        writer = LogWriterThread(journaled.append_many, journaled.deduplicator, lambda new: learning.committed(new))
        learning = LearnerThread(
            journaled, engine.sync, writer.record, self._clock, self._sync_seconds, self._priority, mirror
        )
        if mirror is not None:
            mirror.opened(learning.events)
        writer.start()
        learning.start()
        return writer, learning

    def close(self) -> None:
        """Stop taking events, learn for a few seconds more, write a checkpoint, release the data folder."""
        # The compilation of kernels cannot be interrupted; nothing is lost where it is abandoned.
        self._opener.join(_OPENING_SECONDS)
        if self._engine is None or self._parts is None:
            return
        writer, learning = self._parts
        writer.close()
        learning.stop()
        try:
            if learning.problem is None:
                self._engine.checkpoint()
        except CheckpointError as error:
            _LOGGER.error("no checkpoint was written at the end; the next start replays the log instead: %s", error)
        finally:
            self._engine.close()

    @property
    def backlog(self) -> int:
        """Events that are durable but not yet learned from."""
        return 0 if self._parts is None else self._parts[1].backlog

    def ready(self) -> bool:
        """Whether it can answer."""
        return self._engine is not None

    def _running(self) -> tuple[Opened, LogWriterThread, LearnerThread]:
        if self._engine is None or self._parts is None:
            raise UnavailableError("not_ready", "the server is still starting: try again soon")
        return self._engine, *self._parts

    def submit(self, events: Sequence[Event]) -> Future[Accepted]:
        """Take decoded events from any thread; done once they are durable, fails with UnavailableError."""
        _, writer, learning = self._running()
        if learning.problem is not None:
            raise UnavailableError("failed", f"learning has stopped: {learning.problem}; see the log, then restart", 60)
        return writer.submit(events)

    def taking_batch(self) -> AbstractContextManager[None]:
        """Held while a batch is taken: learning makes way."""
        return self._priority.taking_batch()

    def new_batch(self) -> EventBatch:
        """Packed for the log by the thread that decodes them."""
        return PackedEvents()

    def accept(self, events: Sequence[Event]) -> Awaitable[Accepted]:
        """Take events; resolves once they are durable."""
        return FromThread(self.submit(events), asyncio.get_running_loop())

    def forget(self, user_id: Id) -> Awaitable[None]:
        """Delete what is known of the user; resolves once the deletion is durable."""
        done = self._running()[1].record(records.FORGET, msgspec.json.encode(user_id))

        async def wait() -> None:
            await FromThread(done, asyncio.get_running_loop())

        return wait()

    def status(self) -> Status:
        """The engine's facts, and how far learning is behind what is durable."""
        if self._engine is None or self._parts is None:
            failed = self._opened.done() and self._opened.exception() is not None
            return {**starting_status(), "state": "failed" if failed else "starting"}
        learning = self._parts[1]
        return {
            **self._engine.status(),
            "events": learning.events,
            "backlog": learning.backlog,
            "state": "ready" if learning.problem is None else "failed",
            "problem": learning.problem,
        }
