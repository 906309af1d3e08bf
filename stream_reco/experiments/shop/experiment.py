"""`stream-reco simulate` and `stream-reco reproduce shop`: one run, and the page of all."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.shop.plan import OURS, WorldStore, shop_runs

if TYPE_CHECKING:
    from stream_reco.config import Settings


def simulate_arm(
    world: str, arm: str, seed: int, requests: int | None, settings: Settings, watch: Callable[[int], None]
) -> dict[str, Any]:
    """Run one arm in one world; returns the report. `watch` is called with the number of requests so far."""
    from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, peak_rss_bytes
    from stream_reco.experiments.shop.arms import make_arm
    from stream_reco.experiments.shop.closed_loop import ClosedLoop
    from stream_reco.simulate.closed_loop import ClosedLoopWorld
    from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS

    plan = WORLD_PLANS[world]
    lived = ClosedLoopWorld(plan, seed)
    started = time.perf_counter()
    # A shorter run is the beginning of the whole one.
    outcome = ClosedLoop(lived, make_arm(arm, seed, lived, settings), requests or plan.requests, watch).run()
    return {
        "world": world,
        "arm": arm,
        "seed": seed,
        **outcome.as_dict(),
        "seconds": round(time.perf_counter() - started, 3),
        "peak_rss_bytes": peak_rss_bytes(),
        **commit_of(PACKAGE),
        "settings": as_json(settings) if arm == OURS else None,
    }


def write_shop_page(store: WorldStore, seeds: int, out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in the store; returns the files."""
    from stream_reco.experiments.shop.page import shop_page
    from stream_reco.experiments.shop.plot import shop_plot
    from stream_reco.experiments.shop.results import ShopResults, shop_figures

    found = ShopResults({run: store.finished(run) for run in shop_runs(seeds)}, seeds, store.size.limit)
    return write_page(out, "shop", partial(shop_page, found), shop_figures(found), shop_plot(found))
