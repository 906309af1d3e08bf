"""The one thread that appends to the journal, so that its order is the order in which everything was asked for."""

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
from stream_reco.embedded.journal.journal import Journal
from stream_reco.events import Event, encode_batch
from stream_reco.serve.service import Accepted, UnavailableError
from stream_reco.storage.event_log_errors import LogError, LogFull

_LOGGER = logging.getLogger(__name__)
MOST_EVENTS = 128
"""Events of one record; a learner that is told to stop finishes the record at hand."""

_NOTHING = Accepted(0, 0)


@dataclass(eq=False)
class Append:
    """Something on its way into the journal: events of one caller, or one record of another kind."""

    events: Sequence[Event] = ()
    answer: Accepted = _NOTHING
    record: tuple[str, bytes] | None = None
    done: Future[Accepted] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Whoever waits may go away; what was submitted is written all the same."""
        self.done.set_running_or_notify_cancel()

    @property
    def leans(self) -> bool:
        """Whether it holds events that an earlier ticket may hold too, and is as good only as that one."""
        return self.answer.duplicates > 0


@dataclass(frozen=True)
class Arrival:
    """When the events of one ticket came (monotonic seconds), how many, and the position of their last record."""

    position: int
    arrived: float
    events: int


class LogWriterThread:
    """Appends what is submitted, in order; whoever waits meanwhile shares the next commit."""

    def __init__(
        self, journal: Journal, entrance: IngestDeduplicator, committed: Callable[[list[Arrival]], None]
    ) -> None:
        self._journal = journal
        self._entrance = entrance
        self._committed = committed
        self._tickets: deque[Append] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, events: Sequence[Event], now: int) -> Future[Accepted]:
        """Take events at `now` (ms, wall clock); the future is done once they are durable.

        It fails with UnavailableError, and none of them is taken, where the journal cannot grow.
        """
        with self._changed:
            self._refuse_closing()
            new, duplicates, rejected = self._entrance.admit(events, now)
            ticket = Append(new, Accepted(len(new), duplicates, rejected))
            self._put(ticket)
        return ticket.done

    def record(self, kind: str, payload: bytes = b"") -> Future[Accepted]:
        """Append one record of another kind than events."""
        ticket = Append(record=(kind, payload))
        with self._changed:
            self._refuse_closing()
            self._put(ticket)
        return ticket.done

    def close(self) -> None:
        """Append what was submitted, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _refuse_closing(self) -> None:
        if self._closing:
            raise UnavailableError("stopping", "the server is stopping: send it again when it is back", retry_after=5)

    def _put(self, ticket: Append) -> None:
        self._tickets.append(ticket)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._tickets and not self._closing:
                    self._changed.wait()
                tickets = list(self._tickets)
                self._tickets.clear()
            if not tickets:
                return
            self._write(tickets)

    def _write(self, tickets: list[Append]) -> None:
        try:
            self._append(tickets)
        except LogFull as error:
            if len(tickets) == 1:
                self._fail(tickets, error)
                return
            # What is too much together may fit one by one; but what leans on a ticket that failed fails with it.
            for index, ticket in enumerate(tickets):
                if not ticket.done.done():
                    self._write_alone(ticket, tickets[index + 1 :])
        except Exception as error:  # the thread must outlive whatever the disk does
            if not isinstance(error, LogError):
                _LOGGER.exception("the journal failed")
            self._fail(tickets, error)

    def _write_alone(self, ticket: Append, later: list[Append]) -> None:
        try:
            self._append([ticket])
        except Exception as error:
            self._fail([ticket, *(one for one in later if one.leans and not one.done.done())], error)

    def _append(self, tickets: list[Append]) -> None:
        found, ends = _records_of(tickets)
        first = self._journal.append_many(found).start
        arrivals = [
            Arrival(first + end - 1, ticket.arrived, len(ticket.events))
            for ticket, end in zip(tickets, ends, strict=True)
            if ticket.events
        ]
        for ticket in tickets:
            self._entrance.took(ticket.events, ticket.answer.duplicates)
        self._committed(arrivals)
        for ticket in tickets:
            ticket.done.set_result(ticket.answer)

    def _fail(self, tickets: list[Append], error: Exception) -> None:
        reason = "disk_full" if isinstance(error, LogFull) else "log"
        with self._changed:
            leaning = [ticket for ticket in self._tickets if ticket.leans]
            for ticket in leaning:
                self._tickets.remove(ticket)
            failed = [*tickets, *leaning]
            for ticket in failed:
                self._entrance.learned_all(ticket.events)
        for ticket in failed:
            ticket.done.set_exception(UnavailableError(reason, str(error), retry_after=5))


def _records_of(tickets: list[Append]) -> tuple[list[tuple[str, bytes]], list[int]]:
    """The records of all tickets in order, and for each ticket how many records there are up to its end."""
    found: list[tuple[str, bytes]] = []
    ends: list[int] = []
    gathered: list[Event] = []

    def close() -> None:
        found.extend(
            (records.EVENTS, encode_batch(gathered[at : at + MOST_EVENTS]))
            for at in range(0, len(gathered), MOST_EVENTS)
        )
        gathered.clear()

    for ticket in tickets:
        gathered.extend(ticket.events)
        if ticket.record is not None:
            close()
            found.append(ticket.record)
        # While more may join it, the last record has no place in the list yet.
        ends.append(len(found) + -(-len(gathered) // MOST_EVENTS))
    close()
    return found, ends
