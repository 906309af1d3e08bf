"""`stream-reco serve`: the whole loop in one process, behind the HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_reco.cli.failure import Failure
from stream_reco.cli.log_options import ConfigOption
from stream_reco.cli.settings_of import settings_of

HostOption = Annotated[
    str | None, typer.Option(help="Address to listen on; beyond this machine a token is needed.", metavar="H")
]
PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", metavar="P")]


def serve(
    data: Annotated[
        Path, typer.Option(help="Folder that keeps events and what was learned.", metavar="DIR", file_okay=False)
    ] = Path("stream-reco-data"),
    host: HostOption = None,
    port: PortOption = None,
    sync_interval: Annotated[
        float, typer.Option(help="Seconds between what is learned and what is served, from 0.1.", metavar="S")
    ] = 1.0,
    config: ConfigOption = None,
) -> None:
    """Take events and answer with recommendations, learning all the while. Durable in the data folder.

    A token for callers is given by STREAM_RECO_SERVE_TOKEN.
    """
    from stream_reco.cli.serving import Stop, check_sync_interval, running, say, wait_until_ready

    settings = settings_of(config, {"serve.host": host, "serve.port": port}).settings
    check_sync_interval(sync_interval)
    with Stop() as stop, running(settings, data, sync_interval) as (service, url):
        say(f"stream-reco listens on {url}, data in {data}; getting ready …")
        seconds = wait_until_ready(service, stop)
        if seconds is not None:
            say(f"ready after {seconds:.1f} s: dashboard {url}/dashboard, API {url}/schema, metrics {url}/metrics;"
                " Ctrl-C ends it")
        while not stop.asked.wait(0.5):
            if (problem := service.status().get("problem")) is not None:
                raise Failure(f"learning has stopped: {problem}; what was acknowledged is safe in {data}")
        say("stopping …")
    say("stopped; everything acknowledged is in the data folder")
