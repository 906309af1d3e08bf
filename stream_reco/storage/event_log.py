"""The durable log under the embedded engine: what happened, in order, on disk before it is acted on.

It is a SQLite table (standard library), which survives both `kill -9` and a full disk. WAL with synchronous=FULL makes
an append one write and one fsync; threads that append at the same time share them (group commit).
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from stream_reco import metrics
from stream_reco.storage.event_log_errors import (
    LogBusyError,
    LogCorruptError,
    LogError,
    LogFull,
    LogLossError,
    LogTruncatedError,
    LogVersionError,
    corrupt,
    named,
)
from stream_reco.storage.event_log_file import LogFile, LogRecord
from stream_reco.storage.event_log_salvage import LOST, salvage
from stream_reco.storage.folder_lock import FolderLock, FolderTakenError

__all__ = [
    "LOST",
    "EventLog",
    "LogBusyError",
    "LogCorruptError",
    "LogError",
    "LogFull",
    "LogLossError",
    "LogRecord",
    "LogTruncatedError",
    "LogVersionError",
]

_CHUNK = 64
MAX_PAYLOAD = 256 * 1024 * 1024
"""Bytes of the largest record, well below SQLite's own bound."""


class _Append:
    """One caller's records, waiting for a commit that they may share with others."""

    def __init__(self, records: Sequence[tuple[str, bytes]]) -> None:
        self.records = records
        self.first = 0
        self.error: LogError | None = None
        self.done = False


class EventLog:
    """The log in `folder`, which is created if need be; one EventLog a folder, in all processes together.

    Safe to use from any number of threads. Raises LogBusyError, LogVersionError, LogCorruptError, LogLossError (records
    that were acknowledged are missing) or LogFull, each saying what to do.
    """

    def __init__(self, folder: str | Path, accept_loss: bool = False) -> None:
        """With `accept_loss` a damaged log goes on with what can be read of it, instead of a LogCorruptError.

        Lost records are counted and logged, the damaged files set aside, and positions go on after the last one that
        was acknowledged; records of the kind `LOST` stand where others are missing.
        """
        self.path = Path(folder) / "log.sqlite3"
        self._queue: list[_Append] = []
        self._queueing = threading.Lock()
        self._writing = threading.Lock()
        self._failed: LogError | None = None
        self._lock = _locked(self.path)
        try:
            self._file = _opened(self.path, accept_loss)
        except BaseException:
            self._lock.release()
            raise
        metrics.LOG_BYTES.set(self.bytes_on_disk)

    @property
    def first(self) -> int:
        """Position of the oldest record that is kept; one above `last` if there is none."""
        return self._file.first

    @property
    def last(self) -> int:
        """Position of the newest durable record; 0 in a new log. It never goes back."""
        return self._file.last

    @property
    def bytes_on_disk(self) -> int:
        return self._file.nbytes

    def append(self, kind: str, payload: bytes) -> int:
        """Append one record; returns its position once it is durable."""
        return self.append_many([(kind, payload)])[0]

    def append_many(self, records: Sequence[tuple[str, bytes]]) -> range:
        """Append (kind, payload) pairs, all of them or none; returns their consecutive positions once they are durable.

        kind: a short ASCII word; payload: at most MAX_PAYLOAD bytes. Raises LogFull if they did not fit. After any
        other LogError on append, every further append raises too: what the disk holds is certain again only after a
        reopening.
        """
        if not records:
            return range(self.last + 1, self.last + 1)
        for kind, payload in records:
            _check(kind, payload)
        append = _Append(records)
        with metrics.LOG_APPEND_SECONDS.time():
            with self._queueing:
                self._queue.append(append)
            # Whoever gets here first commits for all who wait.
            with self._writing:
                if not append.done:
                    self._commit_queue()
        if append.error is not None:
            raise append.error
        return range(append.first, append.first + len(records))

    def read(self, after: int = 0, limit: int | None = None) -> Iterator[LogRecord]:
        """The records after position `after`, in order, at most `limit`, of those durable at the call.

        Raises LogTruncatedError if some of them were deleted, and LogCorruptError at the first damaged one or if the
        log ends before `after`: the caller has read records that are missing now.
        """
        last = self.last
        if after > last:
            raise corrupt(self.path, f"it ends at record {last}, but {after} had been read from it")
        return self._records(after, last if limit is None else min(last, after + limit))

    def truncate_before(self, position: int) -> None:
        """Delete the records before `position`; their space is reused. Positions are never reused."""
        if position > self.last + 1:
            raise ValueError(f"cannot truncate before {position}: the log ends at {self.last}")
        while self.first < position:
            # In small steps, so that appends do not wait long.
            with self._writing:
                self._refuse_failed()
                self._file.drop_before(min(position, self.first + _CHUNK))

    def continue_after(self, position: int) -> None:
        """Let positions go on after `position`, where all up to it is known from elsewhere; all records are deleted."""
        with self._writing:
            self._refuse_failed()
            self._file.continue_after(position)

    def holds(self, kind: str) -> bool:
        """Whether any record that is kept is of this kind."""
        return self._file.holds(kind)

    def erase_dropped(self) -> None:
        """Leave no byte of what `truncate_before` has deleted in the folder. Raises LogError."""
        with self._writing:
            self._refuse_failed()
            self._file.erase_dropped()

    def close(self) -> None:
        """Close the log and release its folder. Idempotent."""
        with self._writing:
            self._file.close()
            self._lock.release()
            self._failed = self._failed or LogError(f"log {self.path} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _records(self, after: int, end: int) -> Iterator[LogRecord]:
        while after < end:
            chunk = self._file.read(after, min(end - after, _CHUNK))
            yield from chunk
            after += len(chunk)

    def _commit_queue(self) -> None:
        with self._queueing:
            appends, self._queue = self._queue, []
        self._commit(appends)
        if len(appends) > 1 and isinstance(appends[0].error, LogFull):
            # Appends that do not fit together may fit one by one.
            for append in appends:
                self._commit([append])

    def _commit(self, appends: list[_Append]) -> None:
        error: LogError | None = LogError(f"log {self.path}: interrupted before the append was durable")
        first = self.last + 1
        try:
            self._refuse_failed()
            self._file.append([record for append in appends for record in append.records])
            error = None
        except LogError as raised:
            # After a failed fsync the kernel may have dropped pages that SQLite believes to be written.
            self._failed = self._failed or (None if isinstance(raised, LogFull) else raised)
            error = raised
        finally:
            for append in appends:
                append.first, append.error, append.done = first, error, True
                first += len(append.records)
        if error is None:
            for kind, count in Counter(kind for append in appends for kind, _ in append.records).items():
                metrics.LOG_APPENDED.labels(kind).inc(count)
            metrics.LOG_BYTES.set(self.bytes_on_disk)

    def _refuse_failed(self) -> None:
        if self._failed is not None:
            raise LogError(f"log {self.path} must be opened again after: {self._failed}") from self._failed


def _opened(path: Path, accept_loss: bool) -> LogFile:
    if not accept_loss:
        return LogFile(path)
    try:
        file = LogFile(path)
        try:
            file.check_all()
        except BaseException:
            file.close()
            raise
    except LogCorruptError as error:
        salvage(path, error)
        return LogFile(path)
    return file


def _locked(path: Path) -> FolderLock:
    try:
        with named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return FolderLock(path.with_name("log.lock"))
    except FolderTakenError as error:
        raise LogBusyError(
            f"log {path} is in use by {f'process {error.holder}' if error.holder else 'another process'}: stop it, or"
            " use another folder"
        ) from None


def _check(kind: str, payload: bytes) -> None:
    if not isinstance(kind, str) or not isinstance(payload, bytes):
        raise TypeError(f"a record is (str, bytes), not ({type(kind).__name__}, {type(payload).__name__})")
    if not kind.isascii() or not 1 <= len(kind) <= 64:
        raise ValueError(f"kind of record is {kind!r}: must be an ASCII word of 1 to 64 letters")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"record of {len(payload)} bytes: at most {MAX_PAYLOAD}; append smaller batches")
