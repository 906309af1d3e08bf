"""`stream-reco ingest`: a log to a running server, or into Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.clock import SystemClock
from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.kafka import run, settings_with_kafka
from stream_reco.terminal.log_options import (
    ColumnsOption,
    ConfigOption,
    EncodingOption,
    ExpectDuplicatesOption,
    FormatOption,
    IdType,
    IdTypeOption,
    LimitOption,
    LogChoice,
    LogPath,
    OrderIsTimeOption,
    SeparatorOption,
    TimeFormatOption,
    TimeUnitOption,
)
from stream_reco.terminal.log_report import check_duplicates, print_bad_rows
from stream_reco.terminal.settings import settings_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from stream_reco.cli.server.client import Sent
    from stream_reco.config import Settings
    from stream_reco.datasets import Log


def ingest(
    path: LogPath,
    format: FormatOption,  # noqa: A002 - the option's name
    columns: ColumnsOption = None,
    time_unit: TimeUnitOption = None,
    time_format: TimeFormatOption = None,
    order_is_time: OrderIsTimeOption = False,
    separator: SeparatorOption = None,
    encoding: EncodingOption = None,
    id_type: IdTypeOption = IdType.auto,
    limit: LimitOption = None,
    expect_duplicates: ExpectDuplicatesOption = False,
    url: Annotated[
        str | None, typer.Option(help="Server address; that of the settings by default.", metavar="URL")
    ] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Send to the events topic of Kafka instead of a server.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Events in one request.")] = 1000,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            "--patience",
            min=0,
            help="Seconds to retry while the server is busy or unavailable.",
            metavar="S",
        ),
    ] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Send a log to a running server, or to Kafka. Sending it twice, under any name, changes nothing.

    If the server had more than half of it before, the status is 1, unless --expect-duplicates is given.

    The token of the server is read from STREAM_RECO_SERVE_TOKEN.
    """
    choice = LogChoice(path, format, columns, time_unit, time_format, order_is_time, separator, encoding, id_type)
    if kafka:
        if url is not None:
            raise Misuse("--url and --kafka exclude each other: a log goes to a server or into Kafka")
        _into_kafka(settings_with_kafka(config), choice, limit, batch, timeout)
    else:
        _to_server(settings_of(config).settings, choice, limit, url, batch, timeout, expect_duplicates)


def _to_server(
    settings: Settings,
    choice: LogChoice,
    limit: int | None,
    url: str | None,
    batch: int,
    timeout: float,
    expect_duplicates: bool,
) -> None:
    from stream_reco.cli.server.client import Client, Sent, bodies
    from stream_reco.terminal.console import DataConsole

    serve = settings.serve
    client = Client(url or f"http://{serve.host}:{serve.port}", serve.token, timeout)
    log = choice.read(SystemClock().now_ms(), serve.future_seconds, settings.files.missing)
    log = log if limit is None else log[:limit]
    console, sent = DataConsole(), Sent()
    try:
        with _progress(console) as progress:
            task = progress.add_task("events", total=len(log))
            for count, body in bodies(log, batch):
                sent.add(count, client.post("/v1/events", body))
                progress.update(task, completed=sent.events)
    finally:
        client.close()
        _print_summary(console, sent, log)
    check_duplicates(log, sent.duplicates, sent.events, expected=expect_duplicates)


def _into_kafka(settings: Settings, choice: LogChoice, limit: int | None, batch: int, timeout: float) -> None:
    from stream_reco.terminal.console import DataConsole
    from topologies.gateway.ingest import ingest as send

    log = choice.read(SystemClock().now_ms(), settings.serve.future_seconds, settings.files.missing)
    log = log if limit is None else log[:limit]
    console, total = DataConsole(), 0

    def count(events: int) -> None:
        nonlocal total
        total += events
        progress.update(task, completed=total)

    try:
        with _progress(console) as progress:
            task = progress.add_task("events", total=len(log))
            run(send(settings, log, batch, timeout, count))
    finally:
        dead = log.dead_letters.counts.total()
        summary = f"{total:,} events sent to Kafka; {dead:,} invalid rows in the file"
        console.print(summary, soft_wrap=True)
        print_bad_rows(console, log)


def _progress(console: Console) -> Progress:
    from rich.progress import Progress

    return Progress(console=console, disable=not console.is_terminal)


def _print_summary(console: Console, sent: Sent, log: Log) -> None:
    console.print(
        f"{sent.events:,} events sent: {sent.accepted:,} accepted, {sent.duplicates:,} duplicates,"
        f" {sent.rejected.total():,} rejected; {len(log.dead_letters):,} invalid rows in the file",
        soft_wrap=True,
    )
    for message in sent.messages:
        console.print(f"  rejected {message}", soft_wrap=True)
    print_bad_rows(console, log)
