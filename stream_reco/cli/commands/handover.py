"""`stream-reco handover`: the loop with content alone, with ids alone and with both, on the same events.

It is what `stream-reco reproduce handover` and `ablations_content` run, for seeds of a simulated world and for films.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_reco.clock import SystemClock
from stream_reco.experiments.handover.experiment import arms_of, run_handover_choices, run_handover_world
from stream_reco.experiments.handover.plan import ARM_SETS, BOTH, REQUESTS
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import Format, LimitOption, LogChoice, WarmUpOption
from stream_reco.terminal.printing import say
from stream_reco.terminal.progress import progress_lines
from stream_reco.terminal.settings import loop_settings, settings_of
from stream_reco.terminal.signals import stopping

if TYPE_CHECKING:
    from stream_reco.experiments.handover.side_by_side import Span


ArmSet = StrEnum("ArmSet", list(ARM_SETS))  # type: ignore[misc] # members are those of ARM_SETS
_HANDOVER = next(iter(ArmSet))


def handover(
    path: Annotated[
        Path | None, typer.Argument(help="A log of actions; without one, a simulated world.", metavar="[PATH]")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Log format.")] = Format.movielens,  # noqa: A002 - the option's name
    arms: Annotated[ArmSet, typer.Option(help="What is compared.")] = _HANDOVER,
    every: Annotated[int, typer.Option(min=1, help="Evaluate one in N.", metavar="N")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world, and of the arms.", metavar="N")] = 0,
    limit: LimitOption = None,
    warm_up: WarmUpOption = None,
    json: JsonOption = None,
) -> None:
    """Score the same candidates with and without parts of the loop, by how much was known of item and user.

    --limit, --warm-up and --every count requests in the world; --warm-up and --every count actions in a log.
    """
    if json is not None:
        check_writable(json)
    seeded = {"training.seed": seed} if seed else {}
    names = ARM_SETS[arms.value]
    with stopping() as stop:
        if path is None:
            total = limit or REQUESTS
            chosen = arms_of(names, lambda given: settings_of(None, {**given, **seeded}).settings)
            watch = progress_lines(stop, total, "requests")
            figures = run_handover_world(chosen, seed, _span(total, warm_up, every), watch)
        else:
            chosen = arms_of(names, lambda given: loop_settings(None, {**given, **seeded}, format))
            future = chosen[BOTH].serve.future_seconds
            log = LogChoice(path, format).read(SystemClock().now_ms(), future)[:limit]
            watch = progress_lines(stop, len(log), "events")
            figures = run_handover_choices(chosen, log, _span(len(log), warm_up, every), watch)
    say(f"{figures['evaluated']:,} evaluated in {figures['seconds']:,.0f} s")
    if json is not None:
        write_json(json, figures)


def _span(total: int, warm_up: int | None, every: int) -> Span:
    from stream_reco.experiments.handover.side_by_side import Span

    return Span(total, total // 3 if warm_up is None else warm_up, every)
