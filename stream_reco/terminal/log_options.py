"""The options that choose a log, and its loading."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.terminal.errors import Failure, Misuse

if TYPE_CHECKING:
    from stream_reco.datasets import Log


class Format(StrEnum):
    """Kinds of logs; the same names as `stream_reco.datasets.FORMATS`."""

    globo = "globo"
    movielens = "movielens"
    talkingdata = "talkingdata"
    openbandit = "openbandit"
    events = "events"
    table = "table"


class TimeUnit(StrEnum):
    """Units of a table's times."""

    s = "s"
    ms = "ms"
    us = "us"
    ns = "ns"
    iso = "iso"


LogPath = Annotated[
    Path, typer.Argument(help="The log: a file, or a folder for formats of several files.", metavar="PATH")
]
FormatOption = Annotated[Format, typer.Option("--format", help="Log format.")]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        help="For --format table: user=U,item=I,timestamp=T[,action=A,value=V,context=B+C]", metavar="ROLE=COLUMN,…"
    ),
]
TimeUnitOption = Annotated[
    TimeUnit | None, typer.Option(help="For --format table: unit of the times; inferred from the values if not given.")
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first N events by time.", metavar="N")]
WarmUpOption = Annotated[
    int | None,
    typer.Option(min=0, help="Events to learn from without evaluation; a third by default.", metavar="N"),
]
ConfigOption = Annotated[Path | None, typer.Option(help="Settings file (TOML).", metavar="FILE")]


@dataclass(frozen=True)
class LogChoice:
    """Which log, and how to read it."""

    path: Path
    format: Format
    columns: str | None = None
    time_unit: TimeUnit | None = None

    @property
    def has_own_ids(self) -> bool:
        """Whether the file itself may give `event_id`s, which then may repeat."""
        return self.format is Format.events or (self.columns is not None and "event_id=" in self.columns)

    def read(self, now_ms: int, future_seconds: float) -> Log:
        """Read the log; rows further than `future_seconds` ahead of `now_ms` (wall clock) are dead letters."""
        from stream_reco.datasets import DatasetError, load, parse_columns

        try:
            columns = None if self.columns is None else parse_columns(self.columns)
        except ValueError as error:
            raise Misuse(str(error)) from error
        if self.format is Format.table and columns is None:
            raise Misuse("--format table needs --columns user=U,item=I,timestamp=T[,action=A,value=V]")
        if self.format is not Format.table and (columns is not None or self.time_unit is not None):
            raise Misuse(f"--columns and --time-unit are for --format table; {self.format} has fixed columns")
        try:
            log = load(
                self.path,
                self.format,
                columns=columns,
                time_unit=self.time_unit,
                now_ms=now_ms,
                future_ms=round(future_seconds * 1000),
            )
        except DatasetError as error:
            raise Failure(str(error)) from error
        if not len(log):
            raise Failure(_no_events(log))
        return log


def _no_events(log: Log) -> str:
    dead = log.dead_letters
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dead.counts.most_common())
    first = "; ".join(f"{letter.where}: {letter.text}" for letter in dead.examples[:1])
    return f"{log.name}: no valid events ({reasons or 'it is empty'}); the first problem: {first or 'none'}"
