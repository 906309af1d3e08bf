"""`stream-reco ingest`: a log to a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.cli.log_options import (
    ColumnsOption,
    ConfigOption,
    FormatOption,
    LogChoice,
    LogPath,
    TimeUnitOption,
)
from stream_reco.cli.settings_of import settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from stream_reco.cli.sending import Sent


def ingest(
    path: LogPath,
    format: FormatOption,  # noqa: A002 - the option's name
    columns: ColumnsOption = None,
    time_unit: TimeUnitOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N events by time.", metavar="N")] = None,
    url: Annotated[
        str | None, typer.Option(help="The server; by default that of the settings.", metavar="URL")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Events in one request.")] = 1000,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to go on trying while the server is busy or away.", metavar="S")
    ] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Send a log to a running server. Sending it twice changes nothing.

    A server that asks for a token gets that of STREAM_RECO_SERVE_TOKEN.
    """
    from rich.console import Console
    from rich.progress import Progress

    from stream_reco.cli.sending import Client, Sent, bodies

    settings = settings_of(config).settings.serve
    client = Client(url or f"http://{settings.host}:{settings.port}", settings.token, patience)
    log = LogChoice(path, format, columns, time_unit).read(settings.future_seconds)
    log = log if limit is None else log[:limit]
    console = Console()
    sent = Sent()
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("events", total=len(log))
            for count, body in bodies(log, batch):
                sent.add(count, client.post("/v1/events", body))
                progress.update(task, completed=sent.events)
    finally:
        client.close()
        _tell(console, sent, log.dead_letters.counts.total())


def _tell(console: Console, sent: Sent, dead: int) -> None:
    console.print(
        f"{sent.events:,} events sent: {sent.accepted:,} accepted, {sent.duplicates:,} duplicates,"
        f" {sent.rejected.total():,} rejected; {dead:,} rows of the file were no events",
        highlight=False,
        soft_wrap=True,
    )
    for message in sent.messages:
        console.print(f"  rejected {message}", highlight=False, markup=False, soft_wrap=True)
