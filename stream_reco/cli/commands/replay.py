"""`stream-reco replay`: a real log through the whole loop, each event evaluated before it is learned from."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_reco.clock import SystemClock
from stream_reco.model.registry import DEFAULT
from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.log_options import (
    ColumnsOption,
    ConfigOption,
    EncodingOption,
    ExpectDuplicatesOption,
    FormatOption,
    IdType,
    IdTypeOption,
    LimitOption,
    LogChoice,
    LogPath,
    OrderIsTimeOption,
    SeparatorOption,
    TimeFormatOption,
    TimeUnitOption,
    WarmUpOption,
)
from stream_reco.terminal.log_report import check_duplicates, print_bad_rows
from stream_reco.terminal.settings import loop_settings
from stream_reco.terminal.signals import INTERRUPTED, stopping

if TYPE_CHECKING:
    import threading

    from rich.console import Console

    from stream_reco.config import Settings
    from stream_reco.datasets import Log
    from stream_reco.experiments.replay.tally import ReplayTally
    from stream_reco.experiments.replay.view import View

NEVER = "never"
"""The interval of a replay that publishes once, at the end of the warm-up."""


class Labels(StrEnum):
    """Policies of labels, and the oracle, which knows the final labels."""

    auto = "auto"
    conclusive = "conclusive"
    early = "early"
    immediate = "immediate"
    oracle = "oracle"


KeepSeenOption = Annotated[bool, typer.Option("--keep-seen", help="Keep items the user has already interacted with.")]
SyncIntervalOption = Annotated[str, typer.Option(help="Seconds of event time between syncs, or never.", metavar="S")]
WithoutSourceOption = Annotated[
    list[str] | None, typer.Option(help="Disable a candidate source; may be repeated.", metavar="NAME")
]
WithoutFeaturesOption = Annotated[
    list[str] | None, typer.Option(help="Hide a feature family from the model; may be repeated.", metavar="FAMILY")
]
ModelOption = Annotated[str | None, typer.Option(help="Model name; `stream-reco models` lists them.", metavar="NAME")]
LabelsOption = Annotated[
    Labels | None, typer.Option(help="Label policy; oracle knows each final label at once, as an upper bound.")
]


def _interval(text: str) -> int | None:
    """Milliseconds of an interval that is given in seconds; None for never."""
    if text in (NEVER, "inf"):
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 1e9:
        raise Misuse(f"--sync-interval is {text!r}: give seconds of event time, from 0.1, or {NEVER}")
    return round(seconds * 1000)


def replay(
    path: LogPath,
    format: FormatOption,  # noqa: A002 - the option's name
    columns: ColumnsOption = None,
    time_unit: TimeUnitOption = None,
    time_format: TimeFormatOption = None,
    order_is_time: OrderIsTimeOption = False,
    separator: SeparatorOption = None,
    encoding: EncodingOption = None,
    id_type: IdTypeOption = IdType.auto,
    keep_seen: KeepSeenOption = False,
    limit: LimitOption = None,
    expect_duplicates: ExpectDuplicatesOption = False,
    warm_up: WarmUpOption = None,
    sync_interval: SyncIntervalOption = "60",
    json: JsonOption = None,
    without_source: WithoutSourceOption = None,
    without_features: WithoutFeaturesOption = None,
    model: ModelOption = None,
    labels: LabelsOption = None,
    config: ConfigOption = None,
) -> None:
    """Stream a real log through the whole loop: ask for a slate before each event, then learn from it.

    The metrics are those of the slates that were served, before the event was learned from. Ctrl-C ends it with the
    figures so far and status 130.
    """
    interval = _interval(sync_interval)
    _check_names(without_source or [], without_features or [])
    if json is not None:
        check_writable(json)
    flags = _flags(keep_seen, without_source, without_features, model, labels)
    choice = LogChoice(path, format, columns, time_unit, time_format, order_is_time, separator, encoding, id_type)
    with stopping() as stop:
        settings = loop_settings(config, flags, format)
        if without_features and settings.model.name != DEFAULT:
            raise Misuse(f"--without-features is for the model {DEFAULT}, and this one is {settings.model.name}")
        log = choice.read(SystemClock().now_ms(), settings.serve.future_seconds, settings.files.missing)[:limit]
        first = len(log) // 3 if warm_up is None else warm_up
        figures = _run(log, settings, first, interval, stop, repeats=choice.has_own_ids, oracle=labels is Labels.oracle)
    flags = {"log": log.name, "format": format.value, "limit": limit, "warm_up": first, "sync_interval": sync_interval}
    if json is not None:
        write_json(json, flags | {"labels": labels or settings.labels.policy} | figures)
    if figures["interrupted"]:
        raise typer.Exit(INTERRUPTED)
    check_duplicates(log, figures["duplicates"], figures["events"], expected=expect_duplicates)


class _Stopped(Exception):  # noqa: N818 - ends a replay early, and is no error
    """A signal came: what was replayed so far is all there is."""


def _flags(
    keep_seen: bool,
    without_source: list[str] | None,
    without_features: list[str] | None,
    model: str | None,
    labels: Labels | None,
) -> dict[str, object]:
    """The settings that options stand for; None leaves them as they are."""
    return {
        "slate.keep_seen": keep_seen or None,
        "slate.explore": 0.0,
        "retrieve.without": without_source or None,
        "model.name": model,
        "model.two_tower_dcn.without": without_features or None,
        "labels.policy": None if labels in (None, Labels.oracle) else labels.value,
    }


def _check_names(sources: list[str], families: list[str]) -> None:
    if not sources and not families:
        return
    from stream_reco.model.features.names import FAMILIES, LEARNED_FAMILIES
    from stream_reco.retrieve.sources import SOURCES

    for flag, given, known in (
        ("--without-source", sources, sorted(SOURCES)),
        ("--without-features", families, [*FAMILIES, *LEARNED_FAMILIES]),
    ):
        for name in given:
            if name not in known:
                raise Misuse(f"{flag} {name}: unknown name; choose from {', '.join(known)}")


def _run(
    log: Log,
    settings: Settings,
    warm_up: int,
    interval: int | None,
    stop: threading.Event,
    *,
    repeats: bool,
    oracle: bool,
) -> dict[str, Any]:
    """Replay the log, print a summary and return the figures: those so far where `stop` was set before the end."""
    from stream_reco.embedded import Engine
    from stream_reco.experiments.replay.protocol import Plan, Replay
    from stream_reco.experiments.replay.report import failed_events, replay_report
    from stream_reco.experiments.replay.shown_quality import ShownQuality, final_labels_of
    from stream_reco.experiments.replay.tally import ReplayTally
    from stream_reco.experiments.replay.view import replay_view
    from stream_reco.labels import OracleJoiner
    from stream_reco.terminal.console import DataConsole

    labels = settings.labels
    console = DataConsole()
    finals = final_labels_of(log, labels)
    shown = ShownQuality(finals)
    tally = ReplayTally()
    tally.dead_letters.update(log.dead_letters.counts)
    failed_before = failed_events()
    interrupted = True
    joiner = OracleJoiner(finals, labels) if oracle else None
    with Engine(None, settings, observer=tally, viewer=shown if finals else None, joiner=joiner) as engine:
        with replay_view(console, tally, len(log)) as view:
            watch = partial(_watch, view, stop)
            plan = Plan(warm_up, interval, labels.action_kinds.weight, repeats)
            with suppress(_Stopped):
                watch()
                Replay(engine, plan, tally, watch).run(log)
                interrupted = False
        if failed := failed_events() - failed_before:
            tally.dead_letters["internal"] += failed
        report = replay_report(tally, engine.status(), settings) | {"interrupted": interrupted}
        report["impressions"] = shown.as_dict() if finals else None
        if tally.ranking.count:
            report["candidates_per_request"] = round(engine.candidates_ranked / tally.ranking.count, 1)
    _print_summary(console, tally, log, interrupted=interrupted)
    return report


def _watch(view: View, stop: threading.Event) -> None:
    view.update()
    if stop.is_set():
        raise _Stopped


def _print_summary(console: Console, tally: ReplayTally, log: Log, *, interrupted: bool) -> None:
    console.print(
        f"{'interrupted: ' if interrupted else ''}{tally.events:,} events in {tally.elapsed:,.1f} s,"
        f" {tally.ranking.count:,} evaluated, {tally.syncs:,} syncs,"
        f" {tally.duplicates:,} duplicates, {tally.dead_letters.total():,} dead letters",
        soft_wrap=True,
    )
    print_bad_rows(console, log)
