"""The one thread that appends to the journal, in the order of submission; what waits together shares a commit."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.deduplicate import IngestDeduplicator
from stream_reco.events import Event
from stream_reco.events.packed import MOST_BYTES, MOST_EVENTS, PackedEvents, PackedPart
from stream_reco.events.wire import join_batch
from stream_reco.serve.service import STOPPING, Accepted, UnavailableError
from stream_reco.storage.event_log_errors import LogError, LogFull

_LOGGER = logging.getLogger(__name__)
GATHER_SHARE, GATHER_SECONDS = 0.5, 0.001
"""Of the time that the last commit took, at most so many seconds: how long one waits for clients that were answered.

Else those that are answered together come a moment too late for the next commit, and each waits for two.
"""


_NOTHING = PackedEvents()


@dataclass(eq=False)
class Append:
    """A submission that is to be appended: events of one caller, or one record of another kind.

    The thread that writes finds which of the `submitted` events are new, and how many are duplicates.
    """

    submitted: PackedEvents = _NOTHING
    events: PackedEvents = _NOTHING
    duplicates: int = 0
    record: tuple[str, bytes] | None = None
    done: Future[Accepted] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """A caller that cancels its future does not take back what it submitted."""
        self.done.set_running_or_notify_cancel()

    @property
    def depends_on_earlier(self) -> bool:
        """Whether it has duplicates, perhaps of an earlier submission: if that one fails, so must this."""
        return self.duplicates > 0


@dataclass(frozen=True)
class Arrival:
    """When the events of one submission came (monotonic seconds), how many, and the position of their last record."""

    position: int
    arrived: float
    events: int


class LogWriterThread:
    """Appends submissions in their order; those that come during a commit share the next one (group commit)."""

    def __init__(
        self,
        append_many: Callable[[Sequence[tuple[str, bytes]]], range],
        deduplicator: IngestDeduplicator,
        committed: Callable[[list[Arrival]], None],
    ) -> None:
        """`append_many` makes (kind, payload) pairs durable, all or none; `committed` is called after that."""
        self._append_many = append_many
        self._deduplicator = deduplicator
        self._committed = committed
        self._pending: deque[Append] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._expected, self._gather_seconds = 1, 0.0
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, events: Sequence[Event]) -> Future[Accepted]:
        """Take valid events; the future is done once they are durable.

        It fails with UnavailableError, and none of them is taken, where the journal cannot grow.
        """
        return self._put(Append(events if isinstance(events, PackedEvents) else PackedEvents(events)))

    def record(self, kind: str, payload: bytes = b"") -> Future[Accepted]:
        """Append one record of another kind than events."""
        return self._put(Append(record=(kind, payload)))

    def close(self) -> None:
        """Append what was submitted, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, append: Append) -> Future[Accepted]:
        with self._changed:
            if self._closing:
                raise UnavailableError("stopping", STOPPING, retry_after=5)
            self._pending.append(append)
            if len(self._pending) in (1, self._expected):
                self._changed.notify_all()
        return append.done

    def _run(self) -> None:
        while appends := self._take():
            self._write(appends)

    def _take(self) -> list[Append]:
        """What shares the next commit; nothing at the end."""
        with self._changed:
            while not self._pending and not self._closing:
                self._changed.wait()
            # One client never waits here: no more are expected than were under way during the last commit.
            if len(self._pending) < self._expected and not self._closing:
                self._changed.wait(self._gather_seconds)
            appends = list(self._pending)
            self._pending.clear()
        return appends

    def _write(self, appends: list[Append]) -> None:
        try:
            for append in appends:
                self._admit(append)
            self._append(appends)
        except LogFull as error:
            if len(appends) == 1:
                self._fail(appends, error)
                return
            # What is too much together may fit one by one; what depends on one that failed fails with it.
            for index, append in enumerate(appends):
                if not append.done.done():
                    self._write_alone(append, appends[index + 1 :])
        except Exception as error:  # an error of the disk must not end the thread
            if not isinstance(error, LogError):
                _LOGGER.exception("the journal failed")
            self._fail(appends, error)

    def _admit(self, append: Append) -> None:
        if self._deduplicator.admit_all(append.submitted.ids):
            append.events = append.submitted
            return
        new, append.duplicates = self._deduplicator.admit(append.submitted.unpacked())
        append.events = PackedEvents(new)

    def _write_alone(self, append: Append, later: list[Append]) -> None:
        try:
            self._append([append])
        except Exception as error:
            self._fail([append, *(one for one in later if one.depends_on_earlier and not one.done.done())], error)

    def _append(self, appends: list[Append]) -> None:
        found, ends = _records_of(appends)
        start = time.monotonic()
        first = self._append_many(found).start
        self._gather_seconds = min((time.monotonic() - start) * GATHER_SHARE, GATHER_SECONDS)
        self._expected = len(appends) + len(self._pending)
        arrivals = [
            Arrival(first + end - 1, append.arrived, len(append.events))
            for append, end in zip(appends, ends, strict=True)
            if append.events
        ]
        for append in appends:
            self._deduplicator.count_durable(append.events.kinds, append.duplicates)
        self._committed(arrivals)
        for append in appends:
            append.done.set_result(Accepted(len(append.events), append.duplicates))

    def _fail(self, appends: list[Append], error: Exception) -> None:
        reason = "disk_full" if isinstance(error, LogFull) else "log"
        for append in appends:
            # Their ids are free again, before a later submission is looked at.
            self._deduplicator.release(append.events.ids)
            append.done.set_exception(UnavailableError(reason, str(error), retry_after=5))


class _Records:
    """Puts parts of submissions together to records, as long as they stay short."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self._open: list[PackedPart] = []
        """Parts of a record that may have room for more."""
        self._events = self._bytes = 0

    @property
    def count(self) -> int:
        """How many there are, with the one that is not closed."""
        return len(self.found) + bool(self._open)

    def add(self, part: PackedPart) -> None:
        if self._events + part.events > MOST_EVENTS or self._bytes + len(part.packed) > MOST_BYTES:
            self.close()
        self._open.append(part)
        self._events += part.events
        self._bytes += len(part.packed)

    def close(self) -> None:
        """End the record that is open, if any."""
        if self._open:
            self.found.append((records.EVENTS, join_batch(self._events, [part.packed for part in self._open])))
            self._open.clear()
            self._events = self._bytes = 0


def _records_of(appends: list[Append]) -> tuple[list[tuple[str, bytes]], list[int]]:
    """The records of all submissions in order, and for each how many records there are up to its end."""
    made = _Records()
    ends: list[int] = []
    for append in appends:
        for part in append.events.parts:
            made.add(part)
        if append.record is not None:
            made.close()
            made.found.append(append.record)
        ends.append(made.count)
    made.close()
    return made.found, ends
