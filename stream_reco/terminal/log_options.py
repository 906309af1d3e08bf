"""The options that choose a log, and its loading."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.terminal.errors import Failure, Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_reco.datasets import Log, Reading


_TAB = "\t"


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


class IdType(StrEnum):
    """Types of ids in text files; the same names as `stream_reco.datasets.ID_TYPES`."""

    auto = "auto"
    int = "int"
    text = "text"


LogPath = Annotated[
    Path, typer.Argument(help="The log: a file, or a folder for formats of several files.", metavar="PATH")
]
FormatOption = Annotated[Format, typer.Option("--format", help="Log format.")]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        help="For --format table: user=U,item=I,timestamp=T[,action=A,value=V,context=B+C];"
        " without a header by number: user=#1,item=#3,timestamp=#4",
        metavar="ROLE=COLUMN,…",
    ),
]
TimeUnitOption = Annotated[
    TimeUnit | None, typer.Option(help="For --format table: unit of the times; inferred from the values if not given.")
]
TimeFormatOption = Annotated[
    str | None,
    typer.Option(help="For --format table: form of the times, such as '%m/%d/%Y %I:%M:%S %p'.", metavar="STRPTIME"),
]
OrderIsTimeOption = Annotated[
    bool,
    typer.Option(
        "--order-is-time", help="For --format table: there are no times; rows are a second apart, from 2000 on."
    ),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(help="For --format table: what stands between cells, such as ';', '::' or tab.", metavar="TEXT"),
]
EncodingOption = Annotated[
    str | None, typer.Option(help="Encoding of a text file, such as latin-1; UTF-8 if not given.", metavar="NAME")
]
IdTypeOption = Annotated[
    IdType, typer.Option(help="Type of ids: auto takes each cell of text that is an integer for one.")
]
ExpectDuplicatesOption = Annotated[
    bool, typer.Option("--expect-duplicates", help="Succeed even where over half of the events are duplicates.")
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
    time_format: str | None = None
    order_is_time: bool = False
    separator: str | None = None
    encoding: str | None = None
    id_type: IdType = IdType.auto

    @property
    def has_own_ids(self) -> bool:
        """Whether the file itself may give `event_id`s, which then may repeat."""
        return self.format is Format.events or (self.columns is not None and "event_id=" in self.columns)

    def read(self, now_ms: int, future_seconds: float, missing: Iterable[str] | None = None) -> Log:
        """Read the log; rows further than `future_seconds` ahead of `now_ms` (wall clock) are dead letters.

        `missing` are texts that stand for no value, those of the default settings if it is None.
        """
        from stream_reco.datasets import DatasetError, load, parse_columns

        reading = self._reading(missing)
        try:
            columns = None if self.columns is None else parse_columns(self.columns, order_is_time=self.order_is_time)
        except ValueError as error:
            raise Misuse(str(error)) from error
        if self.format is Format.table and columns is None:
            raise Misuse("--format table needs --columns user=U,item=I,timestamp=T[,action=A,value=V]")
        try:
            log = load(
                self.path,
                self.format,
                columns=columns,
                time_unit=self.time_unit,
                now_ms=now_ms,
                future_ms=round(future_seconds * 1000),
                reading=reading,
            )
        except DatasetError as error:
            raise Failure(str(error)) from error
        if not len(log):
            raise Failure(_no_events(log))
        return log

    def _reading(self, missing: Iterable[str] | None) -> Reading:
        """What the options say of the file. Raises `Misuse` where they contradict the format or each other."""
        from stream_reco.datasets import Reading

        of_tables = {
            "--columns": self.columns,
            "--time-unit": self.time_unit,
            "--time-format": self.time_format,
            "--order-is-time": self.order_is_time or None,
            "--separator": self.separator,
        }
        given = [option for option, value in of_tables.items() if value is not None]
        if given and self.format is not Format.table:
            raise Misuse(f"{given[0]} is for --format table; {self.format} has fixed columns")
        if self.id_type is not IdType.auto and self.format is Format.events:
            raise Misuse("--id-type is for tables; JSON says itself which ids are integers and which are text")
        times = [option for option in ("--time-unit", "--time-format", "--order-is-time") if option in given]
        if len(times) > 1:
            raise Misuse(f"{times[0]} and {times[1]} exclude each other")
        try:
            codecs.lookup(self.encoding or "utf-8")
            options = {} if missing is None else {"missing": frozenset(missing)}
            return Reading(
                id_type=self.id_type,
                separator=_TAB if self.separator in ("tab", r"\t") else self.separator,
                encoding=self.encoding,
                time_format=self.time_format,
                order_is_time=self.order_is_time,
                **options,
            )
        except LookupError as error:
            raise Misuse(f"--encoding: {error}; name one such as latin-1, cp1252 or utf-16") from error
        except ValueError as error:
            raise Misuse(str(error)) from error


def _no_events(log: Log) -> str:
    dead = log.dead_letters
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dead.counts.most_common())
    first = "; ".join(f"{letter.where}: {letter.text}" for letter in dead.examples[:1])
    return f"{log.name}: no valid events ({reasons or 'it is empty'}); the first problem: {first or 'none'}"
