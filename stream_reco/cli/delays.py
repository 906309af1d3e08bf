"""`stream-reco reproduce delays`: policies of labels on a real log and on a simulated one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stream_reco.cli.delays_plan import TALKINGDATA, WORLDS, World
from stream_reco.cli.log_options import Format, LogChoice
from stream_reco.cli.reproduce_store import Store
from stream_reco.cli.reproduce_write import write_page

if TYPE_CHECKING:
    from stream_reco.cli.delays_found import WorldFound
    from stream_reco.datasets import Log
    from stream_reco.labels import LabelSettings

_FUTURE_SECONDS = 300.0


def stores_of(data: Path, work: Path, *, fresh: bool = False) -> dict[World, Store]:
    """A store for each world; the simulated log is made where there is none yet, or if it is to be `fresh`.

    Raises `Failure` where a log cannot be read.
    """
    from stream_reco.cli.delays_world import world_log

    real = Store(work, data / TALKINGDATA, WORLDS[1].size, WORLDS[1].log_format, WORLDS[1].shown_log)
    typer.echo("the simulated log: made once, in about a minute, and kept")
    simulated = Store(work, world_log(work, fresh=fresh), WORLDS[0].size, WORLDS[0].log_format, WORLDS[0].shown_log)
    return {WORLDS[0]: simulated, WORLDS[1]: real}


def write(stores: dict[World, Store], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.cli.delays_found import json_of
    from stream_reco.cli.delays_page import page_of
    from stream_reco.cli.delays_plot import plot_of

    found = [_found(world, store) for world, store in stores.items()]
    return write_page(out, "labels", lambda picture: page_of(found, picture), json_of(found), plot_of(found))


def _found(world: World, store: Store) -> WorldFound:
    from stream_reco.cli.delays_found import WorldFound
    from stream_reco.cli.delays_leads import leads_of
    from stream_reco.labels import LabelSettings

    results = {run: store.finished(run) for run in world.runs}
    log = LogChoice(store.log, Format(world.log_format)).read(_FUTURE_SECONDS)
    settings = LabelSettings(window_days=world.window_days)
    ceiling = _ceiling(log, store, settings) if world is WORLDS[0] else None
    return WorldFound(world, results, leads_of(log, settings), ceiling)


def _ceiling(log: Log, store: Store, settings: LabelSettings) -> dict[str, Any]:
    """The figures of the true probabilities, of the impressions that are measured in the runs."""
    from stream_reco.cli.delays_world import true_chances
    from stream_reco.cli.replay_shown import ShownQuality, finals_of
    from stream_reco.events import Impression

    quality = ShownQuality(finals_of(log, settings))
    shown = [event for event in log if isinstance(event, Impression)]
    warm = sum(isinstance(event, Impression) for event in log[: store.size.warm_up])
    quality.shown(shown[warm:], true_chances(store.folder)[warm:].astype("float32"))
    return quality.as_dict()
