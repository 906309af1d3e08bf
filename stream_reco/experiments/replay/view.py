"""The output of a replay: a bar and a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from stream_reco.experiments.replay.tally import RECENT_EVENTS, RECENT_EXAMPLES, ReplayTally

_TERMINAL_SECONDS = 0.5
_LINE_SECONDS = 10.0


class View(Protocol):
    """Progress that is shown while a replay runs."""

    def update(self) -> None:
        """Show the progress, if the last time is long enough ago."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def replay_view(console: Console, tally: ReplayTally, total: int) -> View:
    """The view that fits the console; `total` is the number of events to come."""
    return LiveTable(console, tally, total) if console.is_terminal else Lines(console, tally, total)


def metrics_so_far(tally: ReplayTally) -> dict[str, tuple[float | None, float | None]]:
    """Metric → its value over all, and over the most recent."""
    recent = tally.recent_quality.metrics().as_dict() | tally.recent_ranking.as_dict()
    everything = tally.ranking.as_dict() | tally.quality.as_dict()
    return {name: (value, recent[name]) for name, value in everything.items() if name != "evaluated"}


def speeds_so_far(tally: ReplayTally) -> dict[str, float]:
    """Events per second overall, events per second of learning time, slates per second of one thread."""
    return {
        "events": tally.events / max(tally.elapsed, 1e-9),
        "ingest": tally.events / max(tally.seconds["ingest"], 1e-9),
        "recommend": tally.ranking.count / max(tally.seconds["recommend"], 1e-9),
    }


class LiveTable:
    """A progress bar over a table of quality."""

    def __init__(self, console: Console, tally: ReplayTally, total: int) -> None:
        self._tally = tally
        columns = (BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(TextColumn("events"), *columns, console=console)
        self._task = self._progress.add_task("events", total=total)
        self._live = Live(console=console, auto_refresh=False)
        self._shown = 0.0

    def update(self) -> None:
        if time.monotonic() - self._shown >= _TERMINAL_SECONDS:
            self._show()

    def _show(self) -> None:
        self._progress.update(self._task, completed=self._tally.events)
        self._live.update(Group(self._progress, quality_table(self._tally)), refresh=True)
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        self._live.stop()


def quality_table(tally: ReplayTally) -> Table:
    """Quality and speed so far."""
    table = Table("", "all", f"last {RECENT_EVENTS:,} / {RECENT_EXAMPLES:,}", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (overall, recent) in metrics_so_far(tally).items():
        table.add_row(name, *("–" if value is None else f"{value:.4f}" for value in (overall, recent)))
    for name, speed in speeds_so_far(tally).items():
        table.add_row(f"{name}/s", f"{speed:,.0f}", "")
    return table


class Lines:
    """A line every few seconds, for files and for other programs."""

    def __init__(self, console: Console, tally: ReplayTally, total: int) -> None:
        self._console, self._tally, self._total = console, tally, total
        self._shown = time.monotonic()

    def update(self) -> None:
        if time.monotonic() - self._shown >= _LINE_SECONDS:
            self._show()

    def _show(self) -> None:
        tally = self._tally
        parts = [f"{tally.events:,}/{self._total:,} events", f"{speeds_so_far(tally)['events']:,.0f}/s"]
        parts += [
            f"{name} {overall:.4f}" for name, (overall, _) in metrics_so_far(tally).items() if overall is not None
        ]
        self._console.print(", ".join(parts), soft_wrap=True)
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
