"""Backups: a checkpoint and the log behind it, taken while a server writes, and brought back.

A backup is a folder like a data folder, with the part of the log that follows its checkpoint. The description is
written last, so that a backup that was interrupted is never taken for one.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import msgspec

from stream_reco.storage.checkpoint import CheckpointError, check_checkpoint, newest_checkpoints
from stream_reco.storage.event_log import EventLog
from stream_reco.storage.event_log_errors import LogBusyError, named

FORMAT = 1
CHECKPOINTS, LOG = "checkpoints", "log"
"""Parts of a data folder; the labels' store is made from the checkpoint."""
_DESCRIPTION = "backup.json"
_LOG_FILE = "log.sqlite3"
_ATTEMPTS = 5
"""A server that writes two checkpoints during a copy deletes what is copied; then the copy begins again."""


class BackupError(Exception):
    """A backup cannot be taken or restored; the text says why and what to do."""


class Backup(msgspec.Struct, frozen=True):
    """What a backup holds."""

    format: int
    created: int
    """ms since the epoch."""
    checkpoint: int
    """Log position of its checkpoint; 0 where there is none yet."""
    position: int
    """Position of its last log record: everything up to it comes back."""
    bytes: int = 0


class _MovedOnError(Exception):
    """The server deleted what was being copied."""


def back_up(folder: Path, out: Path, now: int) -> Backup:
    """Copy the state of a data folder to the new folder `out`, whether or not a server writes; `now` in ms.

    Raises BackupError, or a LogError or CheckpointError where the data folder itself is damaged; nothing is left at
    `out` then.
    """
    check_is_data(folder)
    check_new(out)
    for _ in range(_ATTEMPTS):
        with suppress(_MovedOnError), whole_or_nothing(out):
            return _copied(folder, out, now)
    raise BackupError(f"{folder} wrote checkpoints faster than they could be copied to {out}: copy to a faster disk")


@contextmanager
def log_of(folder: Path, scratch: Path) -> Iterator[EventLog]:
    """The log of a data folder as it is now, whether or not a server writes: the copy of it in `scratch`, or itself.

    Raises BackupError where there is none, and LogErrors.
    """
    check_is_data(folder)
    try:
        log = EventLog(folder / LOG)
    except LogBusyError:
        _copy_log(folder / LOG / _LOG_FILE, scratch)
        log = EventLog(scratch)
    with log:
        yield log


def restore(backup: Path, folder: Path) -> Backup:
    """Make the new data folder `folder` from a backup.

    Raises BackupError, LogError or CheckpointError where the backup is not whole.
    """
    description = describe(backup)
    check_new(folder)
    with whole_or_nothing(folder):
        for part in (CHECKPOINTS, LOG):
            if (backup / part).exists():
                shutil.copytree(backup / part, folder / part)
        _check_whole(folder, description)
    return description


def describe(backup: Path) -> Backup:
    """What a backup holds. Raises BackupError where it is none, incomplete, or of a later release."""
    try:
        description = msgspec.json.decode((backup / _DESCRIPTION).read_bytes(), type=Backup)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(
            f"{backup} is no whole backup: {_DESCRIPTION} cannot be read ({error}); take one with stream-reco backup"
        ) from error
    if description.format != FORMAT:
        raise BackupError(
            f"backup {backup} has format {description.format}, this release reads format {FORMAT}: use the release that"
            " wrote it"
        )
    return description


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[None]:
    """Leave nothing at `folder` where what is done within fails; an OSError becomes a BackupError."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            message = f"{folder} cannot be written: {error.strerror or error}; free space or choose another place"
            raise BackupError(message) from error
        raise


def check_is_data(folder: Path) -> None:
    """Raise BackupError where a folder is no data folder."""
    if not (folder / LOG / _LOG_FILE).exists():
        raise BackupError(f"{folder} is no data folder: it has no {LOG}/{_LOG_FILE}; name the folder given as --data")


def check_new(folder: Path) -> None:
    """Raise BackupError unless a folder is empty or not there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} exists already: name a new folder, or remove that one first")


def _copied(folder: Path, out: Path, now: int) -> Backup:
    with ExitStack() as held:
        # Opened as a server would open it, so that a damaged log is refused, not copied. Where a server has it, its
        # records are consistent as any reader sees them.
        with suppress(LogBusyError):
            held.enter_context(EventLog(folder / LOG))
        checkpoint = _copy_checkpoint(folder, out)
        _copy_log(folder / LOG / _LOG_FILE, out / LOG)
    backup = Backup(FORMAT, now, checkpoint, _trimmed(out, checkpoint), _bytes_in(out))
    (out / _DESCRIPTION).write_bytes(msgspec.json.encode(backup) + b"\n")
    return backup


def _copy_checkpoint(folder: Path, out: Path) -> int:
    """Copy the newest whole checkpoint; returns its log position, 0 where there is none."""
    out.mkdir(parents=True, exist_ok=True)
    found = newest_checkpoints(folder / CHECKPOINTS)
    problems = []
    for path in found:
        target = out / CHECKPOINTS / path.name
        # Copied, not linked: damage in one must not be damage in both.
        try:
            shutil.copytree(path, target)
        except OSError as error:
            if path.exists():
                raise
            raise _MovedOnError from error
        try:
            return check_checkpoint(target)
        except CheckpointError as error:
            shutil.rmtree(target)
            if not path.exists():
                raise _MovedOnError from error
            problems.append(str(error))
    if problems:
        raise BackupError(f"no checkpoint in {folder} is whole: {'; '.join(problems)}. Restore an older backup")
    return 0


def _copy_log(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    connect = sqlite3.connect
    with named(source), closing(connect(source)) as opened, closing(connect(folder / _LOG_FILE)) as copy:
        # One read transaction: the server goes on appending meanwhile.
        opened.backup(copy)


def _trimmed(out: Path, checkpoint: int) -> int:
    """Drop the records that the checkpoint holds already; returns the last position."""
    with EventLog(out / LOG) as log:
        if log.first > checkpoint + 1:
            raise _MovedOnError
        log.truncate_before(min(checkpoint, log.last) + 1)
        # Smaller, and without what was deleted.
        log.erase_dropped()
        for _ in log.read(checkpoint):
            pass  # checks what was copied
        return log.last


def _check_whole(folder: Path, backup: Backup) -> None:
    """Raise BackupError, LogError or CheckpointError unless checkpoint and log are what the backup says."""
    positions = [check_checkpoint(path) for path in newest_checkpoints(folder / CHECKPOINTS)]
    with EventLog(folder / LOG) as log:
        for _ in log.read(backup.checkpoint):
            pass
        if (positions or [0]) != [backup.checkpoint] or log.last != backup.position:
            raise BackupError(
                f"{folder} holds checkpoints at {positions} and a log to {log.last}, but should hold one at"
                f" {backup.checkpoint} and a log to {backup.position}: the backup was changed; use another one"
            )


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
