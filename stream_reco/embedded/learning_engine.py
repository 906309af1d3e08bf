"""What learns, durably, and publishes what it learned."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol, Self

import msgspec

from stream_reco.clock import Clock, SystemClock
from stream_reco.config import Settings
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.clock_repair import as_days, as_text, is_ahead
from stream_reco.embedded.journal.journaled_learner import JournaledLearner
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.python_events import Events, PythonEvents
from stream_reco.events import Id
from stream_reco.labels import LabelJoiner
from stream_reco.serve.service import Accepted
from stream_reco.serve.status import Status, rows_by_table
from stream_reco.sync import ChannelRefused, ChannelUnreachable
from stream_reco.train.threads import bind_threads

_LOGGER = logging.getLogger(__name__)


class Publishes(Protocol):
    """Where what was learned goes."""

    @property
    def version(self) -> int:
        """The newest version that was taken; 0 before the first."""
        ...

    def sync(self, now: int) -> int:
        """Publish what changed, stamped with `now` (ms, wall clock); returns the version."""
        ...

    def flush(self) -> None:
        """Predict what waits to be, for those who measure."""
        ...

    def status(self, now: int) -> Status:
        """What was published, and how old it is at `now`; the rest is that of `starting_status`."""
        ...


class LearningEngine:
    """Learns from events; durable in `data_dir`, in memory without one.

    It learns on the thread that calls it, one at a time. Opening a data folder replays what its last checkpoint does
    not hold.
    """

    def __init__(
        self,
        data_dir: str | Path | None,
        settings: Settings,
        publishing: Callable[[JournaledLearner], Publishes],
        *,
        joiner: LabelJoiner | None = None,
        clock: Clock | None = None,
        accept_loss: bool = False,
    ) -> None:
        """`publishing` is called once the learner is recovered; `joiner` and `accept_loss` as `Engine` takes them.

        Raises ValueError where `joiner` is given with a data folder; CheckpointError, LogError, StoreError or
        ValueError where the folder cannot be opened.
        """
        if joiner is not None and data_dir is not None:
            raise ValueError("a data folder cannot keep the labels of another joiner: give `joiner` without `data_dir`")
        self.settings = settings
        self._clock = clock or SystemClock()
        self._folder = data_dir
        self._is_refused = False
        bind_threads(self.settings.training.threads)
        self._open = ExitStack()
        storage = None if data_dir is None else self._open.enter_context(closing(Storage(Path(data_dir), accept_loss)))
        try:
            self.journaled = JournaledLearner(storage, self.settings, joiner)
            """Owns the learner, its journal and the position; the threads of a service use it too."""
            self._publishes = publishing(self.journaled)
            if self.learner.state.events:
                self.sync()
        except BaseException:
            self.close()
            raise

    @property
    def learner(self) -> Learner:
        """What was learned, to look into; only the thread that writes may change it."""
        return self.journaled.learner

    def ingest(self, events: Events, *, strict: bool = False) -> Accepted:
        """Take events; returns when they are durable and learned from.

        Takes event objects and dictionaries with an event's fields, mixed as they come, or a table of pandas or Arrow
        with a row an event. Values may be NumPy's, times may be datetimes (UTC where they have no time zone); a
        dictionary without a time is stamped with the present.

        A bad event is rejected with its reason and a repeated one counted; neither stops the others. With `strict` the
        first bad one is raised as BadEvent with its `index`, before anything is taken. Raises TypeError for a single
        event, LogFull where the disk has no room: none of the events is taken then.
        """
        now = self._clock.now_ms()
        batch = PythonEvents(events, now)
        if strict:
            batch.raise_first(now, int(self.settings.serve.future_seconds * 1000))
        answer = batch.answer(self.journaled.ingest(batch.events, now))
        self._publishes.flush()
        self.journaled.checkpoint_if_due(time.monotonic())
        return answer

    def forget(self, user_id: Id) -> None:
        """Delete what is known of a user, durably; the next checkpoint erases it from the disk."""
        self.journaled.record(records.FORGET, msgspec.json.encode(user_id))
        self.journaled.checkpoint_if_due(time.monotonic())

    def sync(self) -> int:
        """Publish what was learned; returns the version.

        Nothing of what is learned depends on it: examples that are fewer than a batch go on waiting for their step.
        Where the channel refuses, the version stays, and what changed goes out with the next publication.
        """
        self._publishes.flush()
        try:
            version = self._publishes.sync(self._clock.now_ms())
        except (ChannelRefused, ChannelUnreachable) as error:
            version = self._publishes.version
            if not self._is_refused:
                _LOGGER.error("nothing is published, version %d stays served: %s", version, error)
            self._is_refused = True
        else:
            self._is_refused = False
        return version

    def tick(self, now: int) -> None:
        """Let stream time reach `now` (ms) with no event: deadlines pass, counters age."""
        if now > self.stream_time:
            self.journaled.record(records.TICK, b"%d" % now)
            self._publishes.flush()

    def finish(self) -> None:
        """Let every deadline pass, as at the end of a log that is replayed."""
        self.journaled.record(records.FINISH)
        self._publishes.flush()

    def checkpoint(self) -> None:
        """Write the whole state at the present log position, in one atomic step; nothing in memory.

        Raises CheckpointError where it cannot be written; what was acknowledged stays safe in the log.
        """
        self.journaled.checkpoint()

    @property
    def stream_time(self) -> int:
        """The highest event time seen, ms; 0 before the first event."""
        return self.journaled.learner.state.stream_time

    @property
    def clock_problem(self) -> str | None:
        """That stream time is further ahead of the clock than an event may be, where it is, and what to do."""
        now, folder = self._clock.now_ms(), self._folder
        if not is_ahead(self.stream_time, now, self.settings):
            return None
        remedy = "start with a new engine" if folder is None else f"stop it and run: stream-reco repair clock {folder}"
        ahead = as_days(self.stream_time - now)
        return (
            f"stream time is {as_text(self.stream_time)}, {ahead} ahead of this machine's clock:"
            f" new events are late and impressions become negatives at once; where the clock is right, {remedy}"
        )

    def status(self) -> Status:
        """Facts about the loop, ready for JSON."""
        journaled, learner = self.journaled, self.journaled.learner
        tables = rows_by_table(learner.queue.trainer.tables)
        return {
            **self._publishes.status(self._clock.now_ms()),
            "events": learner.state.events,
            "examples": learner.queue.examples,
            "rows": sum(tables.values()),
            "tables": tables,
            "items": len(learner.state.signals.catalogue),
            "users": len(learner.state.histories),
            "pending": learner.joiner.pending,
            "stream_time": learner.state.stream_time,
            "log_position": journaled.position,
            "state": "ready",
            "checkpoint_problem": journaled.checkpoint_problem,
            "clock_problem": self.clock_problem,
        }

    def close(self) -> None:
        """Release the data folder; what was ingested is durable already."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
