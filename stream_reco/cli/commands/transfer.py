"""`stream-reco transfer`: a second shop starts with what the first one has learned of features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say
from stream_reco.terminal.settings import settings_of


def transfer(
    data: Annotated[
        Path, typer.Argument(help="State directory of the first shop; a server may be running on it.", metavar="DIR")
    ],
    new: Annotated[Path, typer.Argument(help="State directory to create; must not exist yet.", metavar="NEW_DIR")],
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="A context field to take along, such as device; only one whose values never stand for one person.",
            metavar="FIELD",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a data folder for a second shop that knows what features mean.

    It holds what was learned of the values of features, and nothing of the first shop's items, users and events.
    """
    settings = settings_of(config).settings
    from stream_reco.embedded.transfer import transfer as make
    from stream_reco.storage.backup import BackupError
    from stream_reco.storage.checkpoint import CheckpointError
    from stream_reco.storage.event_log_errors import LogError
    from stream_reco.storage.rocksdb import StoreError

    try:
        given = make(data, new, settings, context or ())
    except (BackupError, CheckpointError, LogError, StoreError, OSError, ValueError) as error:
        raise Failure(str(error)) from error
    say(
        f"Made {new} from {data}: {given.features:,} features, {given.coefficients:,} coefficients and"
        f" {given.vectors:,} vectors of their values. Start it with stream-reco serve --data {new}"
    )
