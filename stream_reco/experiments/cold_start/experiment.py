"""`stream-reco reproduce cold_start`: one run, and the page of all."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_reco.experiments.cold_start.plan import OURS, ColdStartLog
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.result_store import ResultStore

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.datasets import Log

_SYNC_MS = 60_000


def run_cold_start(
    log: Log, settings: Settings, warm_up: int, watch: Callable[[int], None], *, bandit: bool
) -> dict[str, Any]:
    """Run a log and return the report; `bandit`: it has impressions of a policy whose propensities are known.

    `warm_up`: actions that are learned from but not evaluated. `watch` is called with the events so far.
    """
    from stream_reco.embedded import Engine
    from stream_reco.experiments.cold_start.off_policy import OffPolicyRun
    from stream_reco.experiments.cold_start.walk import ColdStartWalk, WalkPlan
    from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, peak_rss_bytes

    started = time.perf_counter()
    with Engine(None, settings) as engine:
        if bandit:
            off_policy = OffPolicyRun(engine, watch)
            figures, seconds = off_policy.run(log), off_policy.seconds
            figures["click_through"] = figures["policies"]["greedy by score"]["click_through"]
        else:
            walk = ColdStartWalk(engine, WalkPlan(warm_up, _SYNC_MS, settings.labels.action_kinds.weight), watch)
            found, seconds = walk.run(log), walk.seconds
            first = found.as_dict()
            figures = {"evaluated": found.count, "first_events": first, **_overall(first)}
        rows = engine.status()["tables"]
    return {
        "events": len(log),
        **figures,
        "seconds": round(time.perf_counter() - started, 3),
        "seconds_by_stage": {name: round(value, 3) for name, value in seconds.items()},
        "ingest_per_second": round(len(log) / max(seconds["ingest"], 1e-9), 1),
        "score_ms": round(1000 * seconds["score"] / max(figures["evaluated"], 1), 2),
        "rows": rows,
        "peak_rss_bytes": peak_rss_bytes(),
        **commit_of(PACKAGE),
        "settings": as_json(settings),
    }


def _overall(first: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The loop's figures over all events; none where nothing was evaluated."""
    overall: dict[str, float] = first.get("all", {}).get("all", {}).get(OURS, {})
    return overall


def write_cold_start_page(stores: dict[ColdStartLog, ResultStore], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.cold_start.page import cold_start_page
    from stream_reco.experiments.cold_start.plot import cold_start_plot
    from stream_reco.experiments.cold_start.results import ColdStartResults, cold_start_figures

    results = {source: {run: store.finished(run) for run in source.runs} for source, store in stores.items()}
    found = ColdStartResults(results)
    return write_page(
        out, "cold_start", partial(cold_start_page, found), cold_start_figures(found), cold_start_plot(found)
    )
