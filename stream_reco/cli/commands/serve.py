"""`stream-reco serve`: the whole loop on one machine, durable in one folder; or a scorer that follows a trainer."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.cli.server.processes.environment import shared_by_processes, workers_by_default
from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say
from stream_reco.terminal.settings import settings_of

if TYPE_CHECKING:
    from stream_reco.cli.server.running import Running
    from stream_reco.config import Settings

HostOption = Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.", metavar="H")]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port; 8080 by default, 0 takes a free one.", metavar="P")
]


def serve(
    data: Annotated[Path | None, typer.Option(help="State directory (created if missing).", metavar="DIR")] = None,
    redis: Annotated[
        str | None, typer.Option(help="Follow a trainer that publishes over this Redis.", metavar="URL")
    ] = None,
    host: HostOption = None,
    port: PortOption = None,
    sync_interval: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds between two served versions; 1 by default.", metavar="S"),
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Open a damaged folder with what can be read of it; the rest is lost.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Accept events, learn from them and answer over HTTP, until Ctrl-C.

    Acknowledged events survive crashes. The dashboard is at /dashboard. With --redis it is a scorer replica: it answers
    from what a trainer elsewhere publishes, and keeps no state.
    """
    if data is not None and redis is not None:
        raise Misuse("--data runs the whole loop here, --redis follows a trainer elsewhere: give only one of them")
    with nullcontext() if data is None else shared_by_processes() as folder:
        settings = settings_of(config, {"serve.host": host, "serve.port": port, "redis.url": redis}).settings
        _check(settings, data, sync_interval, accept_loss)
        _serve(_Wanted(settings, data, sync_interval or 1.0, accept_loss, folder))


@dataclass(frozen=True)
class _Wanted:
    settings: Settings
    data: Path | None
    sync_seconds: float
    accept_loss: bool
    shared: Path | None
    """Folder for what processes share while they run."""


def _check(settings: Settings, data: Path | None, sync_interval: float | None, accept_loss: bool) -> None:
    if data is None and not settings.redis.url:
        raise Misuse("give --data DIR for the whole loop, or --redis URL (the setting redis.url) to follow a trainer")
    if data is None and sync_interval is not None:
        raise Misuse("--sync-interval needs --data: with --redis the trainer decides how often it publishes")
    if data is None and accept_loss:
        raise Misuse("--accept-loss needs --data: with --redis nothing is kept here that could be lost")


def _serve(wanted: _Wanted) -> None:
    from stream_reco.terminal.signals import stopping

    started = time.monotonic()
    with stopping() as stop, _answering(wanted) as running:
        say(f"Listening at {running.url}, dashboard at {running.url}/dashboard. Getting ready …")
        if running.wait_until_ready(stop):
            status, data = running.status(), wanted.data
            seconds = time.monotonic() - started
            what = f"{status['events']:,} events in {data}" if data else f"version {status['version']} of the trainer"
            say(f"Ready after {seconds:.1f} s with {what}. Ctrl-C ends it.")
            running.wait(stop)
        say("Stopping …")
    say("Stopped; everything is safe.")


def _answering(wanted: _Wanted) -> AbstractContextManager[Running]:
    settings, data = wanted.settings, wanted.data
    if data is None or wanted.shared is None:
        from stream_reco.cli.server.replica import serve_replica

        return serve_replica(settings)
    workers = settings.serve.workers
    if workers is None:
        workers = workers_by_default()
    if workers == 0:
        from stream_reco.cli.server.embedded import serving

        return serving(settings, data, wanted.sync_seconds, wanted.accept_loss)
    from stream_reco.cli.server.processes.serving import serving_in_processes

    return serving_in_processes(settings, data, wanted.sync_seconds, wanted.accept_loss, wanted.shared, workers)
