"""`stream-reco reproduce handover`: one run of all arms on one stream, and the page of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_reco.experiments.handover.plan import ARMS, BOTH, PART_ARMS, PARTS_PAGE, arm_settings
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import RunStore

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.datasets import Log
    from stream_reco.experiments.handover.results import HandoverResults
    from stream_reco.experiments.handover.side_by_side import SideBySide, Span

Watch = Callable[[int], None]


def arms_of(names: Iterable[str], settings: Callable[[Mapping[str, Any]], Settings]) -> dict[str, Settings]:
    """The settings of the arms; `settings` makes them of what differs from the defaults."""
    return {arm: settings(arm_settings(arm)) for arm in names}


def run_handover_world(arms: Mapping[str, Settings], seed: int, span: Span, watch: Watch) -> dict[str, Any]:
    """All arms on the stream of a seed; returns the report. `span` counts requests."""
    from stream_reco.experiments.handover.side_by_side import WORLD_SYNC_MS, SideBySide, run_world

    started = time.perf_counter()
    with SideBySide(arms, WORLD_SYNC_MS) as loop:
        run_world(loop, seed, span, watch)
    return {"events": span.total, **_report(loop, arms, started)}


def run_handover_choices(arms: Mapping[str, Settings], log: Log, span: Span, watch: Watch) -> dict[str, Any]:
    """All arms on a log of actions; returns the report. `span` counts actions."""
    from stream_reco.experiments.handover.side_by_side import LOG_SYNC_MS, SideBySide, run_choices

    started = time.perf_counter()
    with SideBySide(arms, LOG_SYNC_MS) as loop:
        run_choices(loop, log, span, arms[BOTH].labels.action_kinds.weight, watch)
    return {"events": len(log), **_report(loop, arms, started)}


def _report(loop: SideBySide, arms: Mapping[str, Settings], started: float) -> dict[str, Any]:
    from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, peak_rss_bytes

    evidence = loop.tally.as_dict()
    overall = evidence["all"]["all"] if loop.evaluated else {}
    return {
        "evaluated": loop.evaluated,
        # What the first arm came to, as reports of other runs name it.
        **{name: overall[measure][BOTH] for name, measure in (("auc", "auc"), ("logloss", "loss")) if overall},
        "evidence": evidence,
        "seconds": round(time.perf_counter() - started, 3),
        "seconds_by_stage": {name: round(value, 3) for name, value in loop.seconds.items()},
        "peak_rss_bytes": peak_rss_bytes(),
        **commit_of(PACKAGE),
        "settings": as_json(arms[BOTH]),
    }


def write_handover_page(stores: Mapping[RunStore, Sequence[Run]], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.handover.page import handover_page
    from stream_reco.experiments.handover.plot import handover_plot
    from stream_reco.experiments.handover.results import handover_figures

    found = _results(stores)
    figures = handover_figures(found, "handover", ARMS)
    return write_page(out, "handover", partial(handover_page, found), figures, handover_plot(found))


def write_parts_page(stores: Mapping[RunStore, Sequence[Run]], out: Path) -> list[Path]:
    """The same of the loop without each part of the content model."""
    from stream_reco.experiments.handover.parts_page import parts_page
    from stream_reco.experiments.handover.plot import parts_plot
    from stream_reco.experiments.handover.results import handover_figures

    found = _results(stores)
    figures = handover_figures(found, PARTS_PAGE, PART_ARMS)
    return write_page(out, PARTS_PAGE, partial(parts_page, found), figures, parts_plot(found))


def _results(stores: Mapping[RunStore, Sequence[Run]]) -> HandoverResults:
    from stream_reco.experiments.handover.results import HandoverResults

    return HandoverResults({run: store.finished(run) for store, runs in stores.items() for run in runs})
