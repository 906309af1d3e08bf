"""`stream-reco second-shop` and `stream-reco reproduce transfer`: one run of both arms, and the page of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import RunStore
from stream_reco.experiments.transfer.plan import TRANSFERRED

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.datasets import Log
    from stream_reco.embedded.transfer import Transferred

Watch = Callable[[int], None]


def run_second_world(world: str, seed: int, requests: int, settings: Settings, watch: Watch) -> dict[str, Any]:
    """Two worlds of a plan, of which the first one lives for `requests`; returns the report."""
    from stream_reco.experiments.transfer.second_world import TwoWorlds

    started = time.perf_counter()
    worlds = TwoWorlds(world, seed, settings, watch)
    arms = worlds.run(requests)
    *_, last, _ = arms[TRANSFERRED].values()  # the last row is that of newcomers
    return {
        "world": world,
        "seed": seed,
        "events": requests,
        "evaluated": round(last["slates"]),
        "click_through": last["click_through"],
        **_report(arms, worlds.transferred, settings, started),
    }


def run_second_films(log: Log, seed: int, limit: int | None, settings: Settings, watch: Watch) -> dict[str, Any]:
    """Two halves of a log, of which the first shop learns `limit` events (None: all); returns the report."""
    from stream_reco.experiments.transfer.second_films import TwoCatalogues

    started = time.perf_counter()
    catalogues = TwoCatalogues(list(log), seed, settings, watch)
    arms = catalogues.run(limit)
    last = next(reversed(arms[TRANSFERRED].values()), {"ranked": 0.0})
    return {
        "seed": seed,
        "events": len(catalogues.first[:limit]),
        "evaluated": round(last["ranked"]),
        **last,
        **_report(arms, catalogues.transferred, settings, started),
    }


def _report(arms: Mapping[str, Any], given: Transferred | None, settings: Settings, started: float) -> dict[str, Any]:
    from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, peak_rss_bytes

    return {
        "arms": arms,
        "transferred": asdict(given) if given else {},
        "seconds": round(time.perf_counter() - started, 3),
        "peak_rss_bytes": peak_rss_bytes(),
        **commit_of(PACKAGE),
        "settings": as_json(settings),
    }


def write_transfer_page(stores: Mapping[RunStore, Sequence[Run]], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.transfer.page import transfer_page
    from stream_reco.experiments.transfer.plot import transfer_plot
    from stream_reco.experiments.transfer.results import TransferResults, transfer_figures

    found = TransferResults({run: store.finished(run) for store, runs in stores.items() for run in runs})
    return write_page(out, "transfer", partial(transfer_page, found), transfer_figures(found), transfer_plot(found))
