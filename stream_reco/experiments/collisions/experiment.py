"""`stream-reco reproduce collisions`: the collisionless table beside hashed ones, on a log of films and one of news."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from stream_reco.experiments.collisions.plan import FILMS, SHELVES, CollisionLog
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.terminal.errors import Failure


def stores_of(data: Path, work: Path, limit: int | None, warm_up: int | None) -> dict[CollisionLog, ResultStore]:
    """A store for each log in the folder `data`. Raises `Failure` where one cannot be read."""
    stores = {}
    for shelf in SHELVES:
        log = _films(data / shelf.log) if shelf.log == FILMS else data / shelf.log
        shown = f"$STREAM_RECO_DATA/{log.relative_to(data).as_posix()}"
        stores[shelf] = ResultStore(work, log, shelf.size(limit, warm_up), shelf.log_format, shown)
    return stores


def _films(folder: Path) -> Path:
    from stream_reco.datasets import DatasetError, movielens

    if not folder.is_dir():
        source = (movielens.__doc__ or "").partition("Get it at ")[2].partition(" ")[0].rstrip(".")
        raise Failure(f"{folder} is no folder: the 100k film ratings belong there, which are at {source}")
    try:
        return movielens.ratings_file(folder)
    except DatasetError as error:
        raise Failure(str(error)) from error


def write(stores: dict[CollisionLog, ResultStore], out: Path) -> list[Path]:
    """Write the page, its figures and its plot of runs that are all in their stores; returns the files."""
    from stream_reco.experiments.collisions.page import figures_of, page_of
    from stream_reco.experiments.collisions.plot import plot_of
    from stream_reco.experiments.pages.tables import ExperimentResults

    found = {shelf: ExperimentResults(shelf.experiment, _variants(shelf, store)) for shelf, store in stores.items()}
    return write_page(out, "collisions", partial(page_of, found), figures_of(found), plot_of(found))


def _variants(shelf: CollisionLog, store: ResultStore) -> dict[Run, Result]:
    """What each variant found, as if it had been a run of its own."""
    result = store.finished(shelf.run)
    whole = {name: value for name, value in result.report.items() if name != "variants"}
    variants = zip(shelf.experiment.everything, result.report["variants"], strict=True)
    return {run: replace(result, report={**whole, **variant}) for run, variant in variants}
