"""Progress of an experiment: bars on a terminal, and a line for each start and end."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import progress

from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result
from stream_reco.terminal.console import DataConsole


class RunsProgress:
    """Shows `total` replays of `events` each, None where that is not known."""

    def __init__(self, total: int, events: int | None) -> None:
        self._console = DataConsole()
        self._total, self._events, self._done = total, events, 0
        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        )
        self._bars = progress.Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._all = self._bars.add_task("replays", total=total)
        self._tasks: dict[Run, progress.TaskID] = {}

    def kept(self, run: Run, result: Result) -> None:
        """A result of an earlier time is used."""
        self._count(run, f"kept from commit {str(result.report['git_commit'])[:10]}: {_figures(result)}")

    def started(self, run: Run) -> None:
        """A replay began."""
        self._tasks[run] = self._bars.add_task(run.title, total=self._events)
        if not self._console.is_terminal:
            self._say(f"{run.title}: started")

    def progressed(self, run: Run, events: int) -> None:
        """A replay has processed this many events, or requests."""
        self._bars.update(self._tasks[run], completed=events)

    def finished(self, run: Run, result: Result) -> None:
        """A replay succeeded."""
        self._count(run, f"{_figures(result)}, in {result.report['seconds']:,.0f} s")

    def failed(self, run: Run, why: str) -> None:
        """A replay failed."""
        self._count(run, f"failed: {why}")

    def _count(self, run: Run, text: str) -> None:
        self._done += 1
        self._bars.update(self._all, completed=self._done)
        if run in self._tasks:
            self._bars.remove_task(self._tasks.pop(run))
        self._say(f"{self._done}/{self._total} {run.title}: {text}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


def _figures(result: Result) -> str:
    shown = result.report.get("impressions")
    if shown:
        return f"auc of impressions {shown['auc']:.4f}, calibration {shown['calibration']:.3f}"
    if "click_through" in result.report:
        return f"click-through {result.report['click_through']:.4f}"
    names = ("hr@10", "ndcg@10") if "hr@10" in result.report else ("auc", "logloss")
    return ", ".join(f"{name} {result.report[name]:.4f}" for name in names if name in result.report)
