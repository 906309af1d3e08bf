"""Going on with what can still be read of a damaged log, once that is wanted."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from stream_reco import metrics
from stream_reco.storage import event_log_schema as schema
from stream_reco.storage.acknowledged import AcknowledgedFile
from stream_reco.storage.disk import sync
from stream_reco.storage.event_log_errors import LogCorruptError, named
from stream_reco.storage.event_log_file import acknowledged_path, connect_to_read

_LOGGER = logging.getLogger(__name__)
LOST = "lost"
"""Kind of the empty records that stand where acknowledged ones are lost, so that no position is used twice."""
_INSERT = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)"
_Row = tuple[int, str, bytes, int]


def salvage(path: Path, problem: LogCorruptError) -> None:
    """Replace the damaged log in `path` by one of the records whose checksums match; the rest are `LOST` ones.

    What was there is set aside in a folder `damaged-…` next to it. The new log ends where the damaged one was
    acknowledged last, or later. Raises LogError.
    """
    with named(path):
        acknowledged = AcknowledgedFile(acknowledged_path(path))
        draft = path.with_name("salvaged.sqlite3")
        draft.unlink(missing_ok=True)
        kept, lost = _write(draft, path, acknowledged.newest.position if acknowledged.newest else 0)
        aside = _set_aside(path)
        draft.rename(path)
        sync(path.parent)
        acknowledged.path.unlink(missing_ok=True)  # written again when the log is opened
    metrics.LOG_LOST.inc(lost)
    _LOGGER.error(
        "%s. The loss was accepted: %d records could be read, %d are lost; the damaged files are in %s",
        problem,
        kept,
        lost,
        aside,
    )


def _write(draft: Path, source: Path, least_end: int) -> tuple[int, int]:
    """Write the new log; returns how many records it has of the damaged one, and how many that are lost."""
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        schema.create(connection)
        connection.executemany(_INSERT, _readable(source))
        first, last, kept = connection.execute("SELECT min(position), max(position), count(*) FROM records").fetchone()
        end = max(last or 0, least_end)
        if kept:
            connection.executemany(
                "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", map(_lost, range(first, end + 1))
            )
        connection.execute("UPDATE bounds SET first = ?, last = ?", (first if kept else end + 1, end))
        connection.execute("COMMIT")
    return kept, end - first + 1 - kept if kept else 0


def _readable(path: Path) -> Iterator[_Row]:
    """All records whose checksums match, from the beginning to the first damage and from the end back to the last."""
    if not path.exists():
        return
    reached = 0
    for order in ("ASC", "DESC"):
        query = f"SELECT position, kind, payload, checksum FROM records WHERE position > ? ORDER BY position {order}"
        try:
            with closing(connect_to_read(path)) as connection:
                for row in connection.execute(query, (reached,)):
                    if _is_whole(row):
                        reached = row[0] if order == "ASC" else reached
                        yield row
        except sqlite3.Error:
            continue


def _is_whole(row: tuple[object, ...]) -> bool:
    position, kind, payload, checksum = row
    return (
        isinstance(position, int)
        and position > 0
        and isinstance(kind, str)
        and isinstance(payload, bytes)
        and schema.checksum_of(position, kind, payload) == checksum
    )


def _lost(position: int) -> _Row:
    return position, LOST, b"", schema.checksum_of(position, LOST, b"")


def _set_aside(path: Path) -> Path:
    number = max((int(one.name.rpartition("-")[2]) for one in path.parent.glob("damaged-[0-9]*")), default=0) + 1
    aside = path.with_name(f"damaged-{number}")
    aside.mkdir()
    # The write-ahead log first: SQLite would apply it to the file that takes this one's place.
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
        if path.with_name(name).exists():
            path.with_name(name).rename(aside / name)
    sync(aside)
    return aside
