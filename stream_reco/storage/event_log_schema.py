"""What a log's SQLite file must look like, and the checks of one that is opened."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import xxhash

from stream_reco.storage.acknowledged import Acknowledged
from stream_reco.storage.event_log_errors import LogVersionError, corrupt, loss

FORMAT = 1
_APPLICATION = 0x53524C47  # "SRLG": distinguishes our file from any other SQLite file
_SCHEMA = (
    "CREATE TABLE records (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload BLOB NOT NULL, checksum INTEGER)",
    "CREATE TABLE bounds (first INTEGER NOT NULL, last INTEGER NOT NULL)",
    "INSERT INTO bounds VALUES (1, 0)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


class LogBounds(NamedTuple):
    """Positions of the oldest and the newest record; first = last + 1 where there are none."""

    first: int
    last: int


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new log; to be called in a transaction."""
    for statement in _SCHEMA:
        connection.execute(statement)


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether nothing was created in the file yet."""
    tables, version = (
        connection.execute(query).fetchone()[0]
        for query in ("SELECT count(*) FROM sqlite_master", "PRAGMA user_version")
    )
    return not tables and not version


def check(connection: sqlite3.Connection, path: Path, acknowledged: Acknowledged) -> LogBounds:
    """The bounds of the log in `path`, which is not new, once they agree with its records and `acknowledged`.

    Raises LogCorruptError, LogLossError or LogVersionError.
    """
    _check_version(connection, path)
    bounds = _bounds(connection, path)
    position, checksum = acknowledged
    if position > bounds.last:
        raise loss(path, bounds.last, position)
    if position >= bounds.first:
        found = connection.execute("SELECT checksum FROM records WHERE position = ?", (position,)).fetchone()
        if found != (checksum,):
            raise corrupt(path, f"its record {position} is not the one that was acknowledged")
    return bounds


def checksum_of(position: int, kind: object, payload: object) -> int:
    """The checksum of a record; a damaged file may give any type, and whatever it is must not match."""
    digest = xxhash.xxh3_64(seed=position)
    digest.update(repr(kind).encode())
    digest.update(payload if isinstance(payload, bytes) else repr(payload).encode())
    return digest.intdigest() - 2**63


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(query).fetchone()[0] for query in ("PRAGMA application_id", "PRAGMA user_version")
    )
    if application != _APPLICATION:
        raise corrupt(path, f"it is a database of another program (application id {application})")
    if version != FORMAT:
        raise LogVersionError(
            f"log {path} has format {version}, this release reads format {FORMAT}: use the release that wrote it, or"
            " restore the folder from a copy, or move it away to start afresh"
        )


def _bounds(connection: sqlite3.Connection, path: Path) -> LogBounds:
    rows = connection.execute("SELECT first, last FROM bounds").fetchall()
    oldest, newest = connection.execute("SELECT min(position), max(position) FROM records").fetchone()
    if len(rows) != 1 or not all(isinstance(bound, int) and bound >= 0 for bound in rows[0]):
        raise corrupt(path, f"its bounds are {rows}")
    bounds = LogBounds(*rows[0])
    if newest != (bounds.last if bounds.first <= bounds.last else None):
        raise corrupt(path, f"it should end at record {bounds.last}, but ends at {newest}")
    if oldest != (bounds.first if bounds.first <= bounds.last else None) or bounds.first > bounds.last + 1:
        raise corrupt(path, f"it should begin at record {bounds.first}, but begins at {oldest}")
    return bounds
