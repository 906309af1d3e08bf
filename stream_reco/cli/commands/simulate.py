"""`stream-reco simulate`: one way of recommending in one closed-loop world.

It is what `stream-reco reproduce shop` runs, once for each arm, world and seed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream_reco.experiments.shop.experiment import simulate_arm
from stream_reco.experiments.shop.plan import OURS, TITLES, WORLD_NAMES
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say
from stream_reco.terminal.progress import progress_lines
from stream_reco.terminal.settings import settings_of
from stream_reco.terminal.signals import stopping

WorldName = StrEnum("WorldName", list(WORLD_NAMES))  # type: ignore[misc] # members are those of WORLD_NAMES
ArmName = StrEnum("ArmName", list(TITLES))  # type: ignore[misc] # members are those of TITLES
_OURS = ArmName(OURS)


def simulate(
    world: Annotated[WorldName, typer.Argument(help="The world.")],
    arm: Annotated[ArmName, typer.Option(help="What recommends.")] = _OURS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world and of the arm.", metavar="N")] = 0,
    requests: Annotated[
        int | None, typer.Option(min=10, help="How many requests come; by default the world's.", metavar="N")
    ] = None,
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Let people who see only what is recommended respond to it, and measure that by what is true of their world."""
    from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS

    if json is not None:
        check_writable(json)
    total = requests or WORLD_PLANS[world.value].requests
    with stopping() as stop:
        settings = settings_of(config, {"training.seed": seed} if seed else {}).settings
        watch = progress_lines(stop, total, "requests")
        figures = simulate_arm(world.value, arm.value, seed, requests, settings, watch)
    say(
        f"{figures['evaluated']:,} requests: click-through {figures['click_through']:.4f}, of the last fifth"
        f" {figures['click_through_last_fifth']:.4f}; {figures['share_of_oracle']:.1%} of the oracle"
    )
    if json is not None:
        write_json(json, figures)
