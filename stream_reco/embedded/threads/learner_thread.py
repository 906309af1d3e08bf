"""The thread that takes durable records in order, learns from them, and brings what was learned to the scorer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from stream_reco import metrics
from stream_reco.clock import Clock
from stream_reco.embedded.engine import Engine
from stream_reco.embedded.journal import records
from stream_reco.embedded.threads.log_writer import Arrival
from stream_reco.embedded.threads.request_priority import RequestPriority
from stream_reco.events import decode_batch
from stream_reco.measure.stages import LIVE_MS
from stream_reco.serve.service import Accepted
from stream_reco.storage.event_log import LogRecord

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 16
_TICK_SECONDS = 1.0
_IDLE_SYNC_SECONDS = 1.0
_LAST_SECONDS = 3.0


class LearnerThread:
    """Applies the journal's records to the engine's learner and publishes every `sync_seconds`, on one thread.

    `ask(kind, payload)` puts a record into the journal; it comes back through the journal like all others, so that a
    replay sees the very same order.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        sync_seconds: float,
        ask: Callable[[str, bytes], Future[Accepted]],
        courtesy: RequestPriority,
    ) -> None:
        self._engine, self._clock, self._ask, self._courtesy = engine, clock, ask, courtesy
        self._sync_seconds = sync_seconds
        self._changed = threading.Condition()
        self._arrivals: deque[Arrival] = deque()
        self._behind = 0
        self.events = engine.learner.events
        """Distinct events that are durable, learned from or not."""
        self._stopping = False
        self._fresh = False
        self._synced = self._ticked = time.monotonic()
        self.problem: str | None = None
        """Why learning has stopped, where it has."""
        self._thread = threading.Thread(target=self._run, name="learning", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Events that are durable but not yet learned from."""
        return self._behind

    def committed(self, arrivals: list[Arrival]) -> None:
        """Records are durable; called by the thread that writes."""
        with self._changed:
            self._arrivals.extend(arrivals)
            count = sum(arrival.events for arrival in arrivals)
            self._behind += count
            self.events += count
            metrics.BACKLOG.set(self._behind)
            self._changed.notify_all()

    def stop(self) -> None:
        """Learn for a few seconds from what is left, and end; what remains is for the next start."""
        with self._changed:
            self._stopping = True
            self._last = time.monotonic() + _LAST_SECONDS
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._go_on():
                for record in self._engine.journal.read(self._engine.applied, _AT_ONCE):
                    self._apply(record)
                    if self._out_of_time():
                        return
                self._sync_if_due()
                self._tick_if_due()
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            _LOGGER.exception("learning has stopped; what is posted is refused, what was acknowledged is safe")

    def _go_on(self) -> bool:
        """Wait for something to do; False at the end."""
        with self._changed:
            while self._engine.journal.last <= self._engine.applied:
                if self._stopping:
                    return False
                pause = min(self._synced + self._sync_seconds, self._ticked + _TICK_SECONDS) - time.monotonic()
                if pause <= 0:
                    break
                self._changed.wait(pause)
        return True

    def _out_of_time(self) -> bool:
        return self._stopping and time.monotonic() > self._last

    def _apply(self, record: LogRecord) -> None:
        learner = self._engine.learner
        if record.kind == records.EVENTS:
            events = decode_batch(record.payload)
            learner.learn(events, self._between)
            self._engine.entrance.learned_all(events)
            with self._changed:
                self._behind -= len(events)
                metrics.BACKLOG.set(self._behind)
        else:
            records.apply(learner, record.kind, record.payload)
        self._engine.applied = record.position
        self._fresh = True
        self._engine.checkpoint_if_due()

    def _between(self) -> None:
        self._courtesy.yield_to_requests()
        self._sync_if_due()

    def _sync_if_due(self) -> None:
        now = time.monotonic()
        if now - self._synced < (self._sync_seconds if self._fresh else max(self._sync_seconds, _IDLE_SYNC_SECONDS)):
            return
        self._publish()

    def _publish(self) -> None:
        self._engine.sync()
        self._synced, self._fresh = time.monotonic(), False
        applied = self._engine.applied
        with self._changed:
            while self._arrivals and self._arrivals[0].position <= applied:
                metrics.FRESHNESS_SECONDS.observe(self._synced - self._arrivals.popleft().arrived)

    def _tick_if_due(self) -> None:
        if time.monotonic() - self._ticked < _TICK_SECONDS:
            return
        self._ticked = time.monotonic()
        now, stream_time = self._clock.now_ms(), self._engine.stream_time
        if stream_time < now <= stream_time + LIVE_MS and not self._stopping and not self._behind:
            self._ask(records.TICK, b"%d" % now)
