"""Errors of the local log, one class a cause; the only place that translates SQLite's error codes."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# SQLite's codes for a file that cannot grow: no space, a quota, a size limit of the process.
_CANNOT_GROW = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMMAP"})
_UNREADABLE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_IOERR_SHORT_READ", "SQLITE_FORMAT")


class LogError(Exception):
    """An operation on the local log failed; the text says why and what to do."""


class LogBusyError(LogError):
    """Another process, or another EventLog of this one, has the folder."""


class LogFull(LogError):  # noqa: N818 - named for the condition
    """No space: nothing of the append was written; what was acknowledged before is safe."""


class LogVersionError(LogError):
    """The log was written in another format version."""


class LogCorruptError(LogError):
    """The log's file is damaged, or holds something else."""


class LogLossError(LogCorruptError):
    """Records that were acknowledged are missing at the log's end."""


class LogTruncatedError(LogError):
    """The requested records were deleted by `truncate_before`."""


REMEDY = (
    "Restore the folder from a copy, or move it away to start afresh, or go on with what can still be read:"
    " --accept-loss (in Python accept_loss=True)"
)
"""What to do where acknowledged records cannot be read."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Raise what SQLite or the file system raises as a LogError that names the log at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error, getattr(error, "sqlite_errorname", "SQLITE_ERROR")) from error
    except OSError as error:
        if error.errno in _FULL:
            raise _full(path, str(error)) from error
        raise LogError(f"log {path}: {error}; the folder must exist and be writable") from error


def _translated(path: Path, error: sqlite3.Error, name: str) -> LogError:
    if name in _CANNOT_GROW:
        return _full(path, f"{error} ({name})")
    if name.startswith(_UNREADABLE):
        return corrupt(path, f"{error} ({name})")
    if name == "SQLITE_BUSY":
        return LogBusyError(f"log {path} is locked by a program that has it open in SQLite: close that program")
    return LogError(f"log {path}: {error} ({name}); check the disk and the folder's permissions")


def corrupt(path: Path, what: str) -> LogCorruptError:
    return LogCorruptError(f"log {path} is damaged: {what}. {REMEDY}; nothing was changed in it")


def loss(path: Path, last: int, acknowledged: int) -> LogLossError:
    lost = "1 acknowledged record" if acknowledged - last == 1 else f"{acknowledged - last} acknowledged records"
    return LogLossError(
        f"log {path} has lost {lost}: it ends at record {last}, and record {acknowledged} was acknowledged:"
        f" its file or its write-ahead log is damaged, or older than the rest of the folder. {REMEDY};"
        " nothing was changed in it"
    )


def _full(path: Path, what: str) -> LogFull:
    return LogFull(
        f"log {path} cannot grow: {what}. Free space on that disk (or lift the quota or file size limit) and send the"
        " events again; none of them was kept, and all that was acknowledged before is safe"
    )
