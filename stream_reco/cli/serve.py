"""`stream-reco serve`: the whole loop in one process, durable in one folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from stream_reco.cli.log_options import ConfigOption
from stream_reco.cli.settings_of import settings_of

HostOption = Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.", metavar="H")]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port; 8080 by default, 0 takes a free one.", metavar="P")
]


def serve(
    data: Annotated[Path, typer.Option(help="Folder that keeps everything; made if need be.", metavar="DIR")],
    host: HostOption = None,
    port: PortOption = None,
    sync_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two versions of what is served.", metavar="S")
    ] = 1.0,
    config: ConfigOption = None,
) -> None:
    """Take events, learn from them and answer over HTTP, until Ctrl-C.

    What was acknowledged survives every crash. The dashboard is at /dashboard.
    """
    settings = settings_of(config, {"serve.host": host, "serve.port": port}).settings
    from stream_reco.cli.serving import serving
    from stream_reco.cli.stopping import stopping

    started = time.monotonic()
    with stopping() as stop, serving(settings, data, sync_interval) as running:
        typer.echo(f"Listening at {running.url}, dashboard at {running.url}/dashboard. Getting ready …")
        if running.wait_until_ready(stop):
            status = running.service.status()
            seconds = time.monotonic() - started
            typer.echo(f"Ready after {seconds:.1f} s with {status['events']:,} events in {data}. Ctrl-C ends it.")
            stop.wait()
        typer.echo("Stopping …")
    typer.echo("Stopped; everything is safe.")
