"""Run what is missing of an experiment, in parallel, with progress, until done or Ctrl-C."""

from __future__ import annotations

import typer

from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.process_pool import Pool
from stream_reco.experiments.runs.result_store import RunStore
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.printing import say


def run_all(store: RunStore, runs: list[Run], jobs: int, *, fresh: bool = False) -> None:
    """Run what is not in the store yet, or all if `fresh`. Raises `Failure` after all are done if one failed."""
    from stream_reco.experiments.runs.progress import RunsProgress
    from stream_reco.terminal.signals import INTERRUPTED, stopping

    distinct = list(dict.fromkeys(runs))
    kept = {} if fresh else {run: result for run in distinct if (result := store.find(run))}
    with stopping() as stop, RunsProgress(len(distinct), store.size.limit) as progress:
        for run, result in kept.items():
            progress.kept(run, result)
        pool = Pool(store, jobs, progress, stop)
        pool.run([run for run in distinct if run not in kept])
    again = "finished replays are kept: the same command resumes from there"
    if stop.is_set():
        say(f"stopped; {again}", err=True)
        raise typer.Exit(INTERRUPTED)
    if pool.failures:
        reasons = "; ".join(f"{title}: {why}" for title, why in pool.failures.items())
        raise Failure(f"{len(pool.failures)} of {len(distinct)} replays failed; {again}. {reasons}")
