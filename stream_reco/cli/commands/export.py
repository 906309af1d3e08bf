"""`stream-reco export`: what a data folder knows of users, items and events, as JSON lines."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.settings import settings_of

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.events import Id


class What(StrEnum):
    """What can be exported."""

    users = "users"
    items = "items"
    events = "events"


def export(
    what: Annotated[What, typer.Argument(help="users, items or events.")],
    data: Annotated[Path, typer.Argument(help="State directory; a server may be running on it.", metavar="DIR")],
    user: Annotated[
        str | None,
        typer.Option(help="Only this user: 5 is an integer id, '\"5\"' the text 5.", metavar="ID"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, compressed if it ends in .gz; standard output by default.", metavar="FILE"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write what a data folder knows, one JSON object a line.

    users: the history, interests, pending impressions and row of each user with a history. items: what the shop said
    of each, as events that `ingest` takes. events: those that the log holds, which are those since the older of the
    two checkpoints.
    """
    if user is not None and what is What.items:
        raise Misuse("--user goes with users or events: items belong to nobody")
    settings = settings_of(config).settings
    from stream_reco.storage.backup import BackupError
    from stream_reco.storage.checkpoint import CheckpointError
    from stream_reco.storage.event_log_errors import LogError

    try:
        with _opened(out) as file:
            for line in _lines(what, data, settings, None if user is None else _id_of(user)):
                file.write(line + b"\n")
    except BrokenPipeError:
        raise
    except (BackupError, CheckpointError, LogError, OSError, ValueError) as error:
        raise Failure(str(error)) from error


def _lines(what: What, data: Path, settings: Settings, user_id: Id | None) -> Iterator[bytes]:
    from stream_reco.embedded.export import events_of, items_of, learner_of, users_of

    if what is What.events:
        yield from events_of(data, user_id)
        return
    with learner_of(data, settings) as learner:
        yield from items_of(learner) if what is What.items else users_of(learner, user_id)


def _id_of(text: str) -> Id:
    from stream_reco.events import BadEvent, id_from_path

    try:
        return id_from_path(text)
    except BadEvent as error:
        raise Misuse(f"--user: {error}") from error


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    if out.suffix == ".gz":
        with gzip.open(out, "wb") as packed:
            yield packed
    else:
        with out.open("wb") as file:
            yield file
