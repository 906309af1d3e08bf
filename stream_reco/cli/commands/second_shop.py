"""`stream-reco second-shop`: a shop started empty and started by what another one has learned of features.

It is what `stream-reco reproduce transfer` runs, for seeds of simulated worlds and of two halves of a log.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream_reco.clock import SystemClock
from stream_reco.experiments.shop.plan import WORLD_NAMES
from stream_reco.experiments.transfer.experiment import run_second_films, run_second_world
from stream_reco.experiments.transfer.plan import FIRST_RATINGS, FIRST_REQUESTS, REQUESTS
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import Format, LimitOption, LogChoice
from stream_reco.terminal.printing import say
from stream_reco.terminal.progress import progress_lines
from stream_reco.terminal.settings import loop_settings, settings_of
from stream_reco.terminal.signals import stopping

ShopWorld = StrEnum("ShopWorld", list(WORLD_NAMES))  # type: ignore[misc] # members are those of WORLD_NAMES
_FIRST = next(iter(ShopWorld))


def second_shop(
    path: Annotated[
        Path | None,
        typer.Argument(help="A log with what is said of items and users; without one, worlds.", metavar="[PATH]"),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Log format.")] = Format.movielens,  # noqa: A002 - the option's name
    world: Annotated[ShopWorld, typer.Option(help="The simulated world.")] = _FIRST,
    seed: Annotated[int, typer.Option(min=0, help="Seed of worlds or halves, and of the loop.", metavar="N")] = 0,
    requests: Annotated[
        int, typer.Option(min=1, help="How long the first shop of a world lives.", metavar="N")
    ] = REQUESTS,
    limit: LimitOption = None,
    json: JsonOption = None,
) -> None:
    """Let a second shop start empty and by transfer, and compare its first slates.

    --limit counts what the first shop learns from of its half of a log.
    """
    if json is not None:
        check_writable(json)
    seeded: dict[str, object] = {"training.seed": seed} if seed else {}
    with stopping() as stop:
        if path is None:
            settings = settings_of(None, seeded).settings
            watch = progress_lines(stop, requests + 2 * FIRST_REQUESTS[-1], "requests")
            figures = run_second_world(world.value, seed, requests, settings, watch)
        else:
            settings = loop_settings(None, seeded, format)
            log = LogChoice(path, format).read(SystemClock().now_ms(), settings.serve.future_seconds)
            watch = progress_lines(stop, len(log) // 4 + 2 * FIRST_RATINGS[-1], "events")
            figures = run_second_films(log, seed, limit, settings, watch)
    say(f"{figures['evaluated']:,} evaluated in {figures['seconds']:,.0f} s")
    if json is not None:
        write_json(json, figures)
