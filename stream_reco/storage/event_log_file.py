"""The log's one SQLite file: opening, checking, appending, reading, and deleting the oldest records."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import xxhash

from stream_reco.storage.event_log_errors import LogBusyError, LogTruncatedError, LogVersionError, corrupt, named

FORMAT = 1
_APPLICATION = 0x53524C47  # "SRLG": distinguishes our file from any other SQLite file
_SCHEMA = (
    "CREATE TABLE records (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload BLOB NOT NULL, checksum INTEGER)",
    "CREATE TABLE bounds (first INTEGER NOT NULL, last INTEGER NOT NULL)",
    "INSERT INTO bounds VALUES (1, 0)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)
# With `secure_delete` what is dropped is overwritten, so that deleted users leave nothing; `temp_store` keeps what
# VACUUM sorts out of temporary files.
_PRAGMAS = (
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",
)


class LogRecord(NamedTuple):
    """One entry: its position (1, 2, 3, … without holes), its kind and its bytes."""

    position: int
    kind: str
    payload: bytes


class LogFile:
    """The records of one file, from `first` to `last` without holes. One thread at a time may write, any may read.

    Raises LogErrors only: see `event_log_errors`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = 1
        self.last = 0
        self._reading = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._is_clean = False
        """Whether all free space of the file is known to be overwritten."""
        try:
            with named(path):
                self._check_not_vanished()
                self._writer = self._connect()
                self._prepare()
                self._mark_as_used()
                self._read_bounds()
                self._reader = self._connect()
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
            (position, kind, payload, _checksum(position, kind, payload))
            for position, (kind, payload) in enumerate(records, self.last + 1)
        ]
        last = self.last + len(rows)
        with named(self.path), self._transaction():
            self._writer.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
            self._writer.execute("UPDATE bounds SET last = ?", (last,))
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
            raise LogTruncatedError(f"log {self.path}: record {after + 1} is gone, the oldest kept is {self.first}")
        for expected, (position, kind, payload, checksum) in enumerate(rows, after + 1):
            if position != expected or _checksum(position, kind, payload) != checksum:
                raise corrupt(self.path, f"record {expected} is missing or does not match its checksum")
        if len(rows) < min(limit, last - after):
            raise corrupt(self.path, f"record {after + len(rows) + 1} is missing")
        return [LogRecord(position, kind, payload) for position, kind, payload, _ in rows]

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

    def _check_not_vanished(self) -> None:
        # A file that was deleted or emptied must not be taken for a new log.
        if self._mark.exists() and (not self.path.exists() or not self.path.stat().st_size):
            raise corrupt(self.path, "the file is missing or empty, though the log was in use")

    def _mark_as_used(self) -> None:
        if not self._mark.exists():
            _sync_folder(self.path.parent)
            self._mark.touch()
            _sync_folder(self.path.parent)

    @property
    def _mark(self) -> Path:
        return self.path.with_suffix(".created")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        self._connections.append(connection)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _prepare(self) -> None:
        application, version, tables = (
            self._writer.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if not tables and not version:
            self._writer.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                for statement in _SCHEMA:
                    self._writer.execute(statement)
        elif application != _APPLICATION:
            raise corrupt(self.path, f"it is a database of another program (application id {application})")
        elif version != FORMAT:
            raise LogVersionError(
                f"log {self.path} has format {version}, this release reads format {FORMAT}: use the release that wrote"
                " it, or move the folder away to start afresh"
            )

    def _read_bounds(self) -> None:
        bounds = self._writer.execute("SELECT first, last FROM bounds").fetchall()
        newest = self._writer.execute("SELECT max(position) FROM records").fetchone()[0]
        if len(bounds) != 1 or not all(isinstance(bound, int) for bound in bounds[0]):
            raise corrupt(self.path, f"its bounds are {bounds}")
        self.first, self.last = bounds[0]
        if newest != (self.last if self.first <= self.last else None):
            raise corrupt(self.path, f"it should end at record {self.last}, but ends at {newest}")

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


def _checksum(position: int, kind: object, payload: object) -> int:
    # A damaged file may give a column any type; whatever it is must not match.
    digest = xxhash.xxh3_64(seed=position)
    digest.update(repr(kind).encode())
    digest.update(payload if isinstance(payload, bytes) else repr(payload).encode())
    return digest.intdigest() - 2**63


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
