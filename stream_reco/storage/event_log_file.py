"""The log's one SQLite file: opening, checking, appending, reading, and deleting the oldest records."""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from stream_reco.storage import event_log_schema as schema
from stream_reco.storage.acknowledged import Acknowledged, AcknowledgedFile
from stream_reco.storage.disk import sync
from stream_reco.storage.event_log_errors import REMEDY, LogBusyError, LogTruncatedError, corrupt, named
from stream_reco.storage.event_log_schema import checksum_of

_LOGGER = logging.getLogger(__name__)
_NOTHING = Acknowledged(0, 0)
_CHECKED = 64
"""Records that are in memory at once where all are checked."""
# With `secure_delete` what is dropped is overwritten, so that deleted users leave nothing; `temp_store` keeps what
# VACUUM sorts out of temporary files.
_PRAGMAS = (
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",
)
_INSERT = "INSERT INTO records VALUES (?, ?, ?, ?)"
_MOVE_LAST = (
    "CREATE TEMP TRIGGER move_last AFTER INSERT ON main.records BEGIN UPDATE bounds SET last = NEW.position; END"
)
"""Of the connection that writes; nothing of it is in the file."""


class LogRecord(NamedTuple):
    """One entry: its position (1, 2, 3, … without holes), its kind and its bytes."""

    position: int
    kind: str
    payload: bytes


class LogFile:
    """The records of one file, from `first` to `last` without holes. One thread at a time may write, any may read.

    Raises LogErrors only: see `event_log_errors`. Where it cannot be opened, nothing was changed in the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = 1
        self.last = 0
        self._reading = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._acknowledged: AcknowledgedFile | None = None
        self._is_clean = False
        """Whether all free space of the file is known to be overwritten."""
        try:
            with named(path):
                self._open()
        except BaseException:
            self.close()
            raise

    @property
    def nbytes(self) -> int:
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def append(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Append (kind, payload) pairs, all or none, and return when they are on disk."""
        rows = [
            (position, kind, payload, checksum_of(position, kind, payload))
            for position, (kind, payload) in enumerate(records, self.last + 1)
        ]
        last = self.last + len(rows)
        with named(self.path):
            self._insert(rows)
        self._acknowledge(Acknowledged(last, rows[-1][3]))
        self.last = last

    def drop_before(self, position: int) -> None:
        # Concurrent readers must not take the gap for damage.
        first, self.first = self.first, position
        try:
            with named(self.path), self._transaction():
                self._writer.execute("DELETE FROM records WHERE position < ?", (position,))
                self._writer.execute("UPDATE bounds SET first = ?", (position,))
        except BaseException:
            self.first = first
            raise

    def continue_after(self, position: int) -> None:
        """Let the next record be the one after `position`, which is above `last`; all records are deleted."""
        with named(self.path), self._transaction():
            self._writer.execute("DELETE FROM records")
            self._writer.execute("UPDATE bounds SET first = ?, last = ?", (position + 1, position))
        self._acknowledge(Acknowledged(position, 0))
        self.first, self.last = position + 1, position

    def read(self, after: int, limit: int) -> list[LogRecord]:
        """The next `limit` records after `after`; fewer only at the end."""
        # Read `last` first: records up to it are committed, whatever the query sees after it.
        last = self.last
        with self._reading, named(self.path):
            rows = self._reader.execute(
                "SELECT position, kind, payload, checksum FROM records WHERE position > ? ORDER BY position LIMIT ?",
                (after, min(limit, last - after)),
            ).fetchall()
        if after + 1 < self.first:
            raise LogTruncatedError(
                f"log {self.path}: record {after + 1} is gone, the oldest kept is {self.first}. {REMEDY}"
            )
        for expected, (position, kind, payload, checksum) in enumerate(rows, after + 1):
            if position != expected or checksum_of(position, kind, payload) != checksum:
                raise corrupt(self.path, f"record {expected} is missing or does not match its checksum")
        if len(rows) < min(limit, last - after):
            raise corrupt(self.path, f"record {after + len(rows) + 1} is missing")
        return [LogRecord(position, kind, payload) for position, kind, payload, _ in rows]

    def check_all(self) -> None:
        """Read all that the file holds, also what no reader needs. Raises LogCorruptError at the first damage."""
        with self._reading, named(self.path):
            found = self._reader.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise corrupt(self.path, str(found))
        for after in range(self.first - 1, self.last, _CHECKED):
            self.read(after, _CHECKED)

    def holds(self, kind: str) -> bool:
        """Whether any record that is kept is of this kind; reads all kinds, but no payload."""
        with self._reading, named(self.path):
            found = self._reader.execute("SELECT EXISTS (SELECT 1 FROM records WHERE kind = ?)", (kind,)).fetchone()
        return bool(found[0])

    def erase_dropped(self) -> None:
        """Leave no byte of the records that were dropped, in the file or in SQLite's write-ahead log."""
        with self._reading, named(self.path):
            if not self._is_clean:
                # An earlier release dropped records without overwriting them.
                self._writer.execute("VACUUM")
                self._is_clean = True
            # Readers, who are held up here, are all that could keep it from being emptied.
            is_busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise LogBusyError(
                f"log {self.path} is being read by another program, so that what was deleted is still"
                " in its write-ahead log: close that program"
            )

    def close(self) -> None:
        for connection in self._connections:
            with suppress(sqlite3.Error):
                connection.close()
        self._connections.clear()
        if self._acknowledged is not None:
            self._acknowledged.close()

    def _open(self) -> None:
        self._acknowledged = AcknowledgedFile(acknowledged_path(self.path))
        if self._mark.exists() or self._acknowledged.path.exists():
            self._check_used()
        self._writer = self._connect()
        self._prepare()
        bounds = schema.check(self._writer, self.path, self._acknowledged.newest or _NOTHING)
        self._writer.execute(_MOVE_LAST)
        self._acknowledge_all(bounds)
        self._mark_as_used()
        self.first, self.last = bounds
        self._reader = self._connect()

    def _check_used(self) -> None:
        """Check what is there before anything may be written: SQLite deletes a write-ahead log that it has read."""
        assert self._acknowledged is not None
        # A file that was deleted or emptied must not be taken for a new log.
        if not self.path.exists() or not self.path.stat().st_size:
            raise corrupt(self.path, "the file is missing or empty, though the log was in use")
        connection = connect_to_read(self.path)
        self._connections.append(connection)
        if schema.is_new(connection):
            raise corrupt(self.path, "it holds nothing, though the log was in use")
        schema.check(connection, self.path, self._acknowledged.newest or _NOTHING)
        self._connections.remove(connection)
        connection.close()

    def _acknowledge_all(self, bounds: schema.LogBounds) -> None:
        """Bring the second file up to the log: behind after a kill, damaged, or not there in earlier releases."""
        assert self._acknowledged is not None
        if self._acknowledged.problem is not None and self._mark.exists():
            _LOGGER.warning(
                "%s: %s. It was written again; the log itself is intact up to record %d",
                self._acknowledged.path,
                self._acknowledged.problem,
                bounds.last,
            )
        row = self._writer.execute("SELECT checksum FROM records WHERE position = ?", (bounds.last,)).fetchone()
        acknowledged = Acknowledged(bounds.last, row[0] if row else 0)
        if self._acknowledged.problem is not None or self._acknowledged.newest != acknowledged:
            self._acknowledge(acknowledged)

    def _acknowledge(self, acknowledged: Acknowledged) -> None:
        assert self._acknowledged is not None
        with named(self.path):
            self._acknowledged.write(acknowledged)

    def _insert(self, rows: Sequence[tuple[int, str, bytes, int]]) -> None:
        if len(rows) == 1:
            # A statement alone is a transaction, and each call gives up the interpreter's lock to the learning thread.
            self._writer.execute(_INSERT, rows[0])
            return
        with self._transaction():
            self._writer.executemany(_INSERT, rows)

    def _mark_as_used(self) -> None:
        if not self._mark.exists():
            sync(self.path.parent)
            self._mark.touch()
            sync(self.path.parent)

    @property
    def _mark(self) -> Path:
        return self.path.with_suffix(".created")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        self._connections.append(connection)
        _configure(connection)
        return connection

    def _prepare(self) -> None:
        # Also where it is not new: a damaged header may ask for another journal.
        self._writer.execute("PRAGMA journal_mode = WAL")
        if schema.is_new(self._writer):
            with self._transaction():
                schema.create(self._writer)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            # SQLite has often rolled back by itself when the disk is full.
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise


def acknowledged_path(log: Path) -> Path:
    """The file that says what a log acknowledged last."""
    return log.with_name("acknowledged")


def connect_to_read(log: Path) -> sqlite3.Connection:
    """A connection that changes nothing, not even at its end."""
    connection = sqlite3.connect(f"{log.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
