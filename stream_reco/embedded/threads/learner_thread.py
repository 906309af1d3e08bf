"""The thread that applies durable records in their order and publishes what was learned to the scorer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from stream_reco import metrics
from stream_reco.clock import Clock
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.mirror import Mirror
from stream_reco.embedded.threads.log_writer import Arrival
from stream_reco.embedded.threads.request_priority import RequestPriority
from stream_reco.measure.stages import LIVE_MS
from stream_reco.serve.service import Accepted
from stream_reco.storage.event_log import LogRecord

_LOGGER = logging.getLogger(__name__)
_READ_RECORDS = 16
"""Records read from the journal at once; between two reads it looks whether a tick is due."""
_TICK_SECONDS = 1.0
_IDLE_SYNC_SECONDS = 1.0
"""Between two publications without anything new: they only say that the trainer is alive."""
_STOP_SECONDS = 3.0
"""How long a stop may go on learning; what is left then is learned at the next start."""


class LearnerThread:
    """Applies the journal's records to the learner and publishes every `sync_seconds`, on one thread.

    `publish` serves what was learned so far. `append(kind, payload)` puts a record into the journal; it comes back
    through the journal like all others, so that a replay sees the same order.
    """

    def __init__(
        self,
        journaled: JournaledLearner,
        publish: Callable[[], object],
        append: Callable[[str, bytes], Future[Accepted]],
        clock: Clock,
        sync_seconds: float,
        priority: RequestPriority,
        mirror: Mirror | None = None,
    ) -> None:
        self._journaled, self._publish, self._append = journaled, publish, append
        self._clock, self._sync_seconds, self._priority = clock, sync_seconds, priority
        self._mirror = mirror
        self._changed = threading.Condition()
        self._arrivals: deque[Arrival] = deque()
        self._behind = 0
        self.events = journaled.learner.state.events
        """Distinct events that are durable, whether learned from or not."""
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
        """Count records that are durable now; called by the thread that writes."""
        with self._changed:
            self._arrivals.extend(arrivals)
            count = sum(arrival.events for arrival in arrivals)
            self._behind += count
            self.events += count
            self._show_backlog()
            self._changed.notify_all()

    def stop(self) -> None:
        """Learn for a few seconds from what is left, and end the thread; what remains is learned at the next start."""
        with self._changed:
            # The thread reads both without the lock, the deadline second.
            self._deadline = time.monotonic() + _STOP_SECONDS
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                for record in self._journaled.unapplied(_READ_RECORDS):
                    self._apply(record)
                    if self._out_of_time():
                        return
                if self._mirror is not None:
                    self._mirror.learned(everything=not self._journaled.is_behind)
                self._sync_if_due()
                self._tick_if_due()
                self._journaled.checkpoint_if_due(time.monotonic())
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            if self._mirror is not None:
                self._mirror.failed(self.problem)
            _LOGGER.exception("learning has stopped; new events are refused, acknowledged ones are safe in the log")

    def _wait_for_work(self) -> bool:
        """Wait until a record, a publication or a tick is due; False where it is to end."""
        with self._changed:
            while not self._journaled.is_behind:
                if self._stopping:
                    return False
                pause = min(self._synced + self._sync_seconds, self._ticked + _TICK_SECONDS) - time.monotonic()
                if pause <= 0:
                    break
                self._changed.wait(pause)
        return True

    def _out_of_time(self) -> bool:
        return self._stopping and time.monotonic() > self._deadline

    def _apply(self, record: LogRecord) -> None:
        events = self._journaled.apply(record, self._between)
        if events:
            with self._changed:
                self._behind -= events
                self._show_backlog()
        self._fresh = True
        self._journaled.checkpoint_if_due(time.monotonic())

    def _show_backlog(self) -> None:
        metrics.BACKLOG.set(self._behind)
        if self._mirror is not None:
            self._mirror.durable(self.events, self._behind)

    def _between(self) -> None:
        self._priority.yield_to_requests()
        if self._mirror is not None:
            self._mirror.learned(everything=False)
        self._sync_if_due()

    def _sync_if_due(self) -> None:
        now = time.monotonic()
        if now - self._synced < (self._sync_seconds if self._fresh else max(self._sync_seconds, _IDLE_SYNC_SECONDS)):
            return
        self._publish()
        self._synced, self._fresh = time.monotonic(), False
        position = self._journaled.position
        with self._changed:
            while self._arrivals and self._arrivals[0].position <= position:
                metrics.FRESHNESS_SECONDS.observe(self._synced - self._arrivals.popleft().arrived)

    def _tick_if_due(self) -> None:
        if time.monotonic() - self._ticked < _TICK_SECONDS:
            return
        self._ticked = time.monotonic()
        now, stream_time = self._clock.now_ms(), self._journaled.learner.state.stream_time
        if stream_time < now <= stream_time + LIVE_MS and not self._stopping and not self._behind:
            self._append(records.TICK, b"%d" % now)
