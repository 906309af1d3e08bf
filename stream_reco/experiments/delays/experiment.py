"""`stream-reco reproduce delays`: policies of labels on a real log and on a simulated one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stream_reco.clock import SystemClock
from stream_reco.experiments.delays.plan import MORE_WORLDS, TALKINGDATA, WORLDS, DelayWorld
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.terminal.log_options import Format, LogChoice

if TYPE_CHECKING:
    from stream_reco.datasets import Log
    from stream_reco.experiments.delays.results import DelayResults
    from stream_reco.labels import LabelSettings

_FUTURE_SECONDS = 300.0


def stores_of(data: Path, work: Path, *, fresh: bool = False) -> dict[DelayWorld, ResultStore]:
    """A store for each world; simulated logs are made where there are none yet, or if they are to be `fresh`.

    Raises `Failure` where a log cannot be read.
    """
    from stream_reco.experiments.delays.simulated_log import world_log

    real = WORLDS[1]
    stores = {real: ResultStore(work, data / TALKINGDATA, real.size, real.log_format, real.shown_log)}
    typer.echo("simulated logs: made once, in about a minute each, and kept")
    for world in (WORLDS[0], *MORE_WORLDS):
        stores[world] = ResultStore(
            work, world_log(world, work, fresh=fresh), world.size, world.log_format, world.shown_log
        )
    return stores


def runs_of(world: DelayWorld) -> tuple[Run, ...]:
    """The runs that the page tells of."""
    return world.compared if world in MORE_WORLDS else world.runs


def write(stores: dict[DelayWorld, ResultStore], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.delays.page import page_of
    from stream_reco.experiments.delays.plot import plot_of
    from stream_reco.experiments.delays.results import DelayResults, json_of

    found = [_found(world, stores[world]) for world in WORLDS]
    more = [DelayResults(world, _results(world, stores[world])) for world in MORE_WORLDS]
    page = partial(page_of, found, more)
    return write_page(out, "labels", page, json_of([*found, *more]), plot_of(found))


def _results(world: DelayWorld, store: ResultStore) -> dict[Run, Result]:
    return {run: store.finished(run) for run in runs_of(world)}


def _found(world: DelayWorld, store: ResultStore) -> DelayResults:
    from stream_reco.experiments.delays.lead_times import leads_of
    from stream_reco.experiments.delays.results import DelayResults
    from stream_reco.labels import LabelSettings

    log = LogChoice(store.log, Format(world.log_format)).read(SystemClock().now_ms(), _FUTURE_SECONDS)
    settings = LabelSettings(window_days=world.window_days)
    ceiling = _ceiling(log, store, settings) if world is WORLDS[0] else None
    return DelayResults(world, _results(world, store), leads_of(log, settings), ceiling)


def _ceiling(log: Log, store: ResultStore, settings: LabelSettings) -> dict[str, Any]:
    """The figures of the true probabilities, of the impressions that are measured in the runs."""
    from stream_reco.events import Impression
    from stream_reco.experiments.delays.simulated_log import true_chances
    from stream_reco.experiments.replay.shown_quality import ShownQuality, finals_of

    quality = ShownQuality(finals_of(log, settings))
    shown = [event for event in log if isinstance(event, Impression)]
    warm = sum(isinstance(event, Impression) for event in log[: store.size.warm_up])
    quality.shown(shown[warm:], true_chances(store.log)[warm:].astype("float32"))
    return quality.as_dict()
