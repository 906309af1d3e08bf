"""`stream-reco dead-letters`: messages that could not be processed, looked at and sent again."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.kafka import PATIENCE_SECONDS, run, settings_with_kafka
from stream_reco.terminal.log_options import ConfigOption

if TYPE_CHECKING:
    from stream_reco.config import Settings

_SHOWN_MESSAGE = 120


class DeadLettersAction(StrEnum):
    """What to do with the dead letters."""

    list = "list"
    drive = "drive"


def dead_letters(
    action: Annotated[
        DeadLettersAction,
        typer.Argument(help="list: show the newest; drive: send them to their topics again, each once."),
    ],
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.", metavar="R")] = None,
    offset: Annotated[
        str | None, typer.Option(help="Only those at these offsets: 5, 3-7, 20-, with commas between.", metavar="O,…")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Of the list: at most so many.", metavar="N")] = 50,
    json: Annotated[bool, typer.Option("--json", help="The list as JSON lines, with key and value.")] = False,
    config: ConfigOption = None,
) -> None:
    """Look at the messages that could not be processed, or send them again. Nothing is ever deleted."""
    settings = settings_with_kafka(config)
    choice = _choice(reason, offset)
    if action is DeadLettersAction.drive:
        _drive(settings, choice)
    else:
        _list(settings, choice, limit, as_json=json)


def _choice(reason: str | None, offset: str | None) -> Any:
    from topologies.dead_letters.report import Choice
    from topologies.topics.offset_ranges import Ranges

    try:
        return Choice(reason, None if offset is None else Ranges.parse(offset))
    except ValueError as error:
        raise Misuse(f"--offset: {error}") from error


def _drive(settings: Settings, choice: Any) -> None:
    from topologies.dead_letters.report import driven_letters

    outcome = run(driven_letters(settings, PATIENCE_SECONDS, choice))
    for topic, count in sorted(outcome.sent.items()):
        typer.echo(f"sent {count:,} again to {topic}")
    left = {
        "had been sent again before": outcome.before,
        "were not chosen": outcome.not_chosen,
        "cannot be sent: they are no dead letters, or hold nothing": outcome.unreadable,
    }
    for what, count in left.items():
        if count:
            typer.echo(f"{count:,} {what}")
    if not outcome.sent:
        typer.echo("nothing was sent")


def _list(settings: Settings, choice: Any, limit: int, *, as_json: bool) -> None:
    from topologies.dead_letters.report import listed_letters

    found, count = run(listed_letters(settings, PATIENCE_SECONDS, choice, limit))
    if as_json:
        _print_json(found)
        return
    _print_table(found)
    if count > len(found):
        typer.echo(f"{count:,} in all; the newest {len(found):,} are shown (--limit)")


def _print_json(found: list[Any]) -> None:
    import msgspec

    for filed in found:
        letter = {"problem": "no dead letter"} if filed.letter is None else msgspec.to_builtins(filed.letter)
        typer.echo(msgspec.json.encode({"filed": {"partition": filed.partition, "offset": filed.offset}} | letter))


def _print_table(found: list[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not found:
        typer.echo("no dead letters")
        return
    table = Table("at", "time", "topic", "partition", "offset", "reason", "message", box=None, pad_edge=False)
    for filed in found:
        table.add_row(str(filed.offset), *(escape(_printable(cell)) for cell in _cells(filed.letter)))
    console = Console()
    # A file or a program that reads on has no width.
    (console if console.is_terminal else Console(width=2000)).print(table)


def _cells(letter: Any) -> list[str]:
    if letter is None:
        return ["", "", "", "", "", "no dead letter"]
    where = [letter.topic, str(letter.partition), str(letter.offset)]
    return [_when(letter.time), *where, letter.reason, letter.message[:_SHOWN_MESSAGE]]


def _when(time: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # of what another program has written there
        return str(time)


def _printable(text: str) -> str:
    """Strangers' text without what would move the cursor or worse."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
