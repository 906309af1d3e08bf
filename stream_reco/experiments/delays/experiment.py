"""`stream-reco reproduce delays`: policies of labels on a real log and on a simulated one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_reco.clock import SystemClock
from stream_reco.experiments.delays.plan import MORE_WORLDS, TALKINGDATA, WORLDS, DelayWorld
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.terminal.log_options import Format, LogChoice
from stream_reco.terminal.printing import say

if TYPE_CHECKING:
    from stream_reco.datasets import Log
    from stream_reco.experiments.delays.results import DelayResults
    from stream_reco.labels import LabelSettings

_FUTURE_SECONDS = 300.0


def delay_stores(data: Path, work: Path, *, fresh: bool = False) -> dict[DelayWorld, ResultStore]:
    """A store for each world; simulated logs are generated where missing, or all of them if `fresh`.

    Raises `Failure` where a log cannot be read.
    """
    from stream_reco.experiments.delays.simulated_log import simulated_log_of

    real = WORLDS[1]
    stores = {real: ResultStore(work, data / TALKINGDATA, real.size, real.log_format, real.shown_log)}
    say("simulated logs: generated once, about a minute each, and kept")
    for world in (WORLDS[0], *MORE_WORLDS):
        stores[world] = ResultStore(
            work, simulated_log_of(world, work, fresh=fresh), world.size, world.log_format, world.shown_log
        )
    return stores


def published_runs(world: DelayWorld) -> tuple[Run, ...]:
    """The runs of a world that the page shows."""
    return world.compared if world in MORE_WORLDS else world.runs


def write_delays_page(stores: dict[DelayWorld, ResultStore], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.delays.page import delays_page
    from stream_reco.experiments.delays.plot import delays_plot
    from stream_reco.experiments.delays.results import DelayResults, delays_figures

    found = [_delay_results(world, stores[world]) for world in WORLDS]
    more = [DelayResults(world, _results(world, stores[world])) for world in MORE_WORLDS]
    page = partial(delays_page, found, more)
    return write_page(out, "labels", page, delays_figures([*found, *more]), delays_plot(found))


def _results(world: DelayWorld, store: ResultStore) -> dict[Run, Result]:
    return {run: store.finished(run) for run in published_runs(world)}


def _delay_results(world: DelayWorld, store: ResultStore) -> DelayResults:
    from stream_reco.experiments.delays.lead_times import measure_leads
    from stream_reco.experiments.delays.results import DelayResults
    from stream_reco.labels import LabelSettings

    log = LogChoice(store.log, Format(world.log_format)).read(SystemClock().now_ms(), _FUTURE_SECONDS)
    settings = LabelSettings(window_days=world.window_days)
    ceiling = _ceiling(log, store, settings) if world is WORLDS[0] else None
    return DelayResults(world, _results(world, store), measure_leads(log, settings), ceiling)


def _ceiling(log: Log, store: ResultStore, settings: LabelSettings) -> dict[str, Any]:
    """The figures of the true probabilities, of the impressions that are measured in the runs."""
    from stream_reco.events import Impression
    from stream_reco.experiments.delays.simulated_log import true_probabilities
    from stream_reco.experiments.replay.shown_quality import ShownQuality, final_labels_of

    quality = ShownQuality(final_labels_of(log, settings))
    shown = [event for event in log if isinstance(event, Impression)]
    warm = sum(isinstance(event, Impression) for event in log[: store.size.warm_up])
    quality.shown(shown[warm:], true_probabilities(store.log)[warm:].astype("float32"))
    return quality.as_dict()
