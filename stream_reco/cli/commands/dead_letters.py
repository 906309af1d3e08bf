"""`stream-reco dead-letters`: list the messages that could not be processed, or send them again."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.kafka import TIMEOUT_SECONDS, run, settings_with_kafka
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say, visible

if TYPE_CHECKING:
    from stream_reco.config import Settings

_SHOWN_MESSAGE = 120
"""Characters of a message in the table; --json has all of them."""
_DEPRECATED_DRIVE = (
    "warning: `dead-letters drive` is deprecated and goes with the next release; use `dead-letters redrive`"
)


class DeadLettersAction(StrEnum):
    """What to do with the dead letters."""

    list = "list"
    redrive = "redrive"
    drive = "drive"
    """Deprecated name of `redrive`."""


def dead_letters(
    action: Annotated[
        DeadLettersAction,
        typer.Argument(
            help="list: show the newest; redrive: send them to their topics again, each once; drive: deprecated name of"
            " redrive."
        ),
    ],
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.", metavar="R")] = None,
    offset: Annotated[
        str | None, typer.Option(help="Only those at these offsets: 5, 3-7, 20-, separated by commas.", metavar="O,…")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many (list only).", metavar="N")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, with key and value (list only).")] = False,
    config: ConfigOption = None,
) -> None:
    """List the messages that could not be processed, or send them again. Never deletes any."""
    settings = settings_with_kafka(config)
    choice = _choice(reason, offset)
    if action is DeadLettersAction.list:
        _list(settings, choice, limit, as_json=json)
        return
    if action is DeadLettersAction.drive:
        say(_DEPRECATED_DRIVE, err=True)
    _redrive(settings, choice)


def _choice(reason: str | None, offset: str | None) -> Any:
    from topologies.dead_letters.report import Choice
    from topologies.topics.offset_ranges import Ranges

    try:
        return Choice(reason, None if offset is None else Ranges.parse(offset))
    except ValueError as error:
        raise Misuse(f"--offset: {error}") from error


def _redrive(settings: Settings, choice: Any) -> None:
    from topologies.dead_letters.report import redrive_letters

    outcome = run(redrive_letters(settings, TIMEOUT_SECONDS, choice))
    for topic, count in sorted(outcome.sent.items()):
        say(f"sent {count:,} again to {topic}")
    skipped = {
        "had been sent again before": outcome.before,
        "were not selected": outcome.not_chosen,
        "cannot be sent: they are not dead letters, or have neither key nor value": outcome.unreadable,
    }
    for what, count in skipped.items():
        if count:
            say(f"{count:,} {what}")
    if not outcome.sent:
        say("nothing was sent")


def _list(settings: Settings, choice: Any, limit: int, *, as_json: bool) -> None:
    from topologies.dead_letters.report import list_letters

    found, count = run(list_letters(settings, TIMEOUT_SECONDS, choice, limit))
    if as_json:
        _print_json(found)
        return
    _print_table(found)
    if count > len(found):
        say(f"{count:,} in all; the newest {len(found):,} are shown (--limit)")


def _print_json(found: list[Any]) -> None:
    import msgspec

    for stored in found:
        letter = {"problem": "no dead letter"} if stored.letter is None else msgspec.to_builtins(stored.letter)
        typer.echo(msgspec.json.encode({"filed": {"partition": stored.partition, "offset": stored.offset}} | letter))


def _print_table(found: list[Any]) -> None:
    from rich.table import Table

    from stream_reco.terminal.console import DataConsole

    if not found:
        say("no dead letters")
        return
    table = Table("at", "time", "topic", "partition", "offset", "reason", "message", box=None, pad_edge=False)
    for stored in found:
        table.add_row(str(stored.offset), *map(visible, _cells(stored.letter)))
    console = DataConsole()
    # A file or a pipe has no width.
    (console if console.is_terminal else DataConsole(width=2000)).print(table)


def _cells(letter: Any) -> list[str]:
    if letter is None:
        return ["", "", "", "", "", "no dead letter"]
    where = [letter.topic, str(letter.partition), str(letter.offset)]
    return [_when(letter.time), *where, letter.reason, letter.message[:_SHOWN_MESSAGE]]


def _when(time: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # in letters that another program has written
        return str(time)
