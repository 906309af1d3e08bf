"""`stream-reco demo`: the whole loop on a simulated world whose tastes are known."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.cli.commands.serve import HostOption, PortOption
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.settings import settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from stream_reco.cli.server.running import RunningServer
    from stream_reco.config import Settings

_STEP_SECONDS = 0.1


def demo(
    host: HostOption = None,
    port: PortOption = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many seconds; else at Ctrl-C.", metavar="N")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated world.")] = 0,
    sync_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two served versions.", metavar="S")
    ] = 1.0,
    config: ConfigOption = None,
) -> None:
    """Run the whole loop on a simulated world, with its API and a live dashboard.

    Users with several drifting interests say what they like, request slates and click; items appear and vanish. The
    true click probabilities are known, so that slates can be compared with random and with the best possible ones.
    """
    from stream_reco.cli.demo.simulated_users import SETTINGS

    flags = SETTINGS | {"serve.host": host, "serve.port": port}
    settings = settings_of(config, flags).settings
    from stream_reco.cli.server.embedded import serving
    from stream_reco.terminal.console import DataConsole
    from stream_reco.terminal.signals import stopping

    console = DataConsole()
    with (
        stopping() as stop,
        tempfile.TemporaryDirectory(prefix="stream-reco-demo-") as folder,
        serving(settings, Path(folder), sync_interval) as running,
    ):
        console.print(f"Listening at {running.url}. Getting ready; the first start compiles for up to a minute …")
        if running.wait_until_ready(stop):
            _simulate(running, settings, seed, seconds, stop, console)


def _simulate(
    running: RunningServer,
    settings: Settings,
    seed: int,
    seconds: float | None,
    stop: threading.Event,
    console: Console,
) -> None:
    """Simulate the users until `seconds` have passed or a signal comes."""
    from stream_reco.cli.demo.simulated_users import RECENT, SimulatedUsers, demo_world
    from stream_reco.cli.demo.view import DemoView
    from stream_reco.cli.server.client import Client
    from stream_reco.clock import SystemClock

    clock = SystemClock()
    client = Client(running.url, settings.serve.token)
    users = SimulatedUsers(demo_world(seed, clock.now_ms()), client)
    started = time.monotonic()
    console.print(f"Ready. Dashboard at {running.url}/dashboard")
    with DemoView(console, running.url) as view:
        while not stop.wait(_STEP_SECONDS) and (seconds is None or time.monotonic() - started < seconds):
            users.step(clock.now_ms())
            view.update(time.monotonic() - started, users, running.service.status())
    client.close()
    console.print(
        f"{users.score.requests:,} slates, {users.sent.accepted:,} events. Expected clicks per slate, of the last"
        f" {min(RECENT, users.score.requests):,}: {users.score.in_words()}.",
        soft_wrap=True,
    )
    if users.new_items.clicked:
        console.print(f"{users.new_items.in_words()}.", soft_wrap=True)
