"""The journal: records in order, on disk where there is a data folder, else in memory until they are read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from stream_reco.storage.event_log import EventLog, LogRecord


class Journal:
    """One sequence of records with positions from 1; the next record gets the position after `last`.

    In memory, records are kept from `follow` on, and only until `read` has gone past them.
    """

    def __init__(self, log: EventLog | None, last: int) -> None:
        self._log = log
        self._last = last
        self._kept: deque[LogRecord] = deque()
        self._follows = False
        self._lock = threading.Lock()

    @property
    def last(self) -> int:
        """Position of the newest record, durable where there is a folder."""
        return self._last

    def append_many(self, records: Sequence[tuple[str, bytes]]) -> range:
        """Append (kind, payload) pairs, all or none, and return their positions. Raises LogError."""
        if self._log is not None:
            positions = self._log.append_many(records)
            self._last = positions.stop - 1
            return positions
        with self._lock:
            positions = range(self._last + 1, self._last + 1 + len(records))
            if self._follows:
                self._kept.extend(LogRecord(at, *record) for at, record in zip(positions, records, strict=True))
            self._last = positions.stop - 1
        return positions

    def follow(self) -> None:
        """Keep what is appended from now on for `read`."""
        self._follows = True

    def read(self, after: int, limit: int) -> list[LogRecord]:
        """At most `limit` records after `after`, in order; those up to `after` are not needed any more."""
        if self._log is not None:
            return list(self._log.read(after, limit))
        with self._lock:
            while self._kept and self._kept[0].position <= after:
                self._kept.popleft()
            return [self._kept[index] for index in range(min(limit, len(self._kept)))]
