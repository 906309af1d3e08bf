"""`stream-reco repair`: heal the data folder of a server that is stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say
from stream_reco.terminal.settings import settings_of

_EARLIEST_MS = 631_152_000_000
"""1990: an earlier time is in seconds by mistake."""


class RepairAction(StrEnum):
    """What to repair."""

    clock = "clock"


def repair(
    action: Annotated[RepairAction, typer.Argument(help="clock: turn back a stream time that is ahead of the clock.")],  # noqa: ARG001 - there is one so far
    folder: Annotated[
        Path, typer.Argument(help="The folder of serve --data; the server must be stopped.", metavar="DIR")
    ],
    to: Annotated[
        str | None,
        typer.Option(help="Turn back to this time (ISO 8601, or ms since 1970); by default to now.", metavar="TIME"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: ConfigOption = None,
) -> None:
    """Heal a data folder whose stream time ran away with a wrong clock.

    Whatever lies later than the clock says is taken as of now: new events are in time again, and what is shown waits
    its full window for a label. Labels that were given meanwhile stay.
    """
    from stream_reco.clock import SystemClock
    from stream_reco.embedded.journal.clock_repair import as_days, as_text, repair_clock
    from stream_reco.storage.checkpoint import CheckpointError
    from stream_reco.storage.event_log_errors import LogError

    settings, now = settings_of(config, {}).settings, SystemClock().now_ms()
    wanted = None if to is None else _time_of(to, now)
    say(f"This machine's clock says {as_text(now)}. Reading {folder} …")

    def announce(before: int, after: int) -> None:
        say(
            f"Stream time is {as_text(before)}. {'It would be' if dry_run else 'It will be'} turned back by"
            f" {as_days(before - after)}, to {as_text(after)}, and what is later is taken as of then."
        )

    try:
        done = repair_clock(folder, settings, now, wanted, announce=announce, dry=dry_run)
    except (LogError, CheckpointError, OSError, ValueError) as error:
        raise Failure(str(error)) from error
    if not done.is_needed:
        say(f"Nothing to repair: stream time is {as_text(done.before)}. The folder was left as it is.")
        return
    say(
        f"Later were {done.later.impressions:,} impressions that wait, and something of {done.later.items:,} items,"
        f" {done.later.users:,} users and {done.later.rows:,} rows."
    )
    say("Nothing was changed: run it again without --dry-run." if dry_run else "Done; the server can start.")


def _time_of(text: str, now: int) -> int:
    """A time in ms. Raises Misuse for what is none, or none that has been."""
    try:
        time = int(text) if text.isdigit() else _iso(text)
    except ValueError as error:
        raise Misuse(f"--to {text!r} is no time: give 2026-11-29T18:00:00Z, or ms since 1970") from error
    if not _EARLIEST_MS <= time <= now:
        raise Misuse(f"--to {text!r} is before 1990 or in the future: give ms or ISO 8601, and a time that has been")
    return time


def _iso(text: str) -> int:
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
