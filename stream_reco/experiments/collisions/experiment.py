"""`stream-reco reproduce collisions`: the collisionless table against hashed ones, on films and on news."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from stream_reco.experiments.collisions.plan import COLLISION_LOGS, FILMS, CollisionLog
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.terminal.errors import Failure


def collision_stores(data: Path, work: Path, limit: int | None, warm_up: int | None) -> dict[CollisionLog, ResultStore]:
    """A store for each log in the folder `data`. Raises `Failure` where one cannot be read."""
    stores = {}
    for source in COLLISION_LOGS:
        log = _films(data / source.log) if source.log == FILMS else data / source.log
        shown = f"$STREAM_RECO_DATA/{log.relative_to(data).as_posix()}"
        stores[source] = ResultStore(work, log, source.size(limit, warm_up), source.log_format, shown)
    return stores


def _films(folder: Path) -> Path:
    from stream_reco.datasets import DatasetError, movielens

    if not folder.is_dir():
        source = (movielens.__doc__ or "").partition("Get it at ")[2].partition(" ")[0].rstrip(".")
        raise Failure(f"{folder} is not a folder: put the 100k film ratings there, which are at {source}")
    try:
        return movielens.ratings_file(folder)
    except DatasetError as error:
        raise Failure(str(error)) from error


def write_collisions_page(stores: dict[CollisionLog, ResultStore], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.collisions.page import collisions_figures, collisions_page
    from stream_reco.experiments.collisions.plot import collisions_plot
    from stream_reco.experiments.pages.tables import ExperimentResults

    found = {source: ExperimentResults(source.experiment, _variants(source, store)) for source, store in stores.items()}
    return write_page(
        out, "collisions", partial(collisions_page, found), collisions_figures(found), collisions_plot(found)
    )


def _variants(source: CollisionLog, store: ResultStore) -> dict[Run, Result]:
    """The results of each variant, as if it had been a run of its own."""
    result = store.finished(source.run)
    whole = {name: value for name, value in result.report.items() if name != "variants"}
    variants = zip(source.experiment.everything, result.report["variants"], strict=True)
    return {run: replace(result, report={**whole, **variant}) for run, variant in variants}
