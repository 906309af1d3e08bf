"""`stream-reco backup` and `stream-reco restore`: the state of a data folder, out of a running server and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.printing import say

BackupPath = Annotated[Path, typer.Argument(help="Folder of the backup.", metavar="OUT")]


def backup(
    data: Annotated[Path, typer.Argument(help="State directory; a server may be running on it.", metavar="DIR")],
    out: BackupPath,
) -> None:
    """Copy the state of a data folder to a new folder, while the server goes on.

    It holds the newest checkpoint and the log up to the moment of the copy, both checked whole.
    """
    from stream_reco.clock import SystemClock
    from stream_reco.storage.backup import BackupError, back_up
    from stream_reco.storage.checkpoint import CheckpointError
    from stream_reco.storage.event_log_errors import LogError

    try:
        taken = back_up(data, out, SystemClock().now_ms())
    except (BackupError, CheckpointError, LogError) as error:
        raise Failure(str(error)) from error
    checkpoint = f"a checkpoint at log position {taken.checkpoint}" if taken.checkpoint else "no checkpoint yet"
    say(
        f"Backed up {data} to {out}: {checkpoint} and the log to position"
        f" {taken.position}, {taken.bytes / 1e6:,.1f} MB. To bring it back: stream-reco restore {out} NEW_DIR"
    )


def restore(
    out: BackupPath,
    data: Annotated[Path, typer.Argument(help="State directory to create; must not exist yet.", metavar="DIR")],
) -> None:
    """Make a new data folder from a backup, checked whole. Start it with stream-reco serve --data DIR."""
    from stream_reco.storage.backup import BackupError
    from stream_reco.storage.backup import restore as bring_back
    from stream_reco.storage.checkpoint import CheckpointError
    from stream_reco.storage.event_log_errors import LogError

    try:
        found = bring_back(out, data)
    except (BackupError, CheckpointError, LogError) as error:
        raise Failure(str(error)) from error
    say(f"Restored {data} to log position {found.position}. Start it with stream-reco serve --data {data}")
