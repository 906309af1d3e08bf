"""`stream-reco reproduce`: the experiments, from their runs to the pages in docs/results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream_reco.experiments.cold_start import experiment as cold_start
from stream_reco.experiments.cold_start.plan import FASHION, ColdStartLog, cold_start_stores
from stream_reco.experiments.collisions import experiment as collisions
from stream_reco.experiments.collisions.plan import FILMS, CollisionLog
from stream_reco.experiments.delays import experiment as delays
from stream_reco.experiments.delays.plan import TALKINGDATA
from stream_reco.experiments.handover import experiment as handover
from stream_reco.experiments.handover.plan import PARTS_PAGE, handover_runs, handover_stores, part_runs
from stream_reco.experiments.pages.tables import ExperimentResults, experiment_figures, experiment_page
from stream_reco.experiments.pages.write import write_page
from stream_reco.experiments.runs.plan import EXPERIMENTS, LOG, Experiment, Run, Size, checked_size
from stream_reco.experiments.runs.result_store import ResultStore, RunStore
from stream_reco.experiments.runs.run_all import run_all
from stream_reco.experiments.shop import experiment as shop
from stream_reco.experiments.shop.plan import SEED_COUNT, WorldStore, shop_runs
from stream_reco.experiments.transfer.experiment import write_transfer_page
from stream_reco.experiments.transfer.plan import WORLD_SEEDS, transfer_runs, transfer_stores
from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.log_options import WarmUpOption
from stream_reco.terminal.printing import say

ALL, COLD_START, COLLISIONS, DELAYS, HANDOVER, SHOP, TRANSFER = (
    "all",
    "cold_start",
    "collisions",
    "delays",
    "handover",
    "shop",
    "transfer",
)
LIMIT = 300_000
Runs = Callable[[], tuple[list[Run], list[Run]]]
WritePage = Callable[[dict[RunStore, list[Run]], Path], list[Path]]
COMPARED: Mapping[str, tuple[Runs, WritePage]] = {
    HANDOVER: (handover_runs, handover.write_handover_page),
    PARTS_PAGE: (part_runs, handover.write_parts_page),
}
"""Pages on arms that see the same events: their runs, in the world and on films, and who writes them."""
Name = StrEnum("Name", [*EXPERIMENTS, COLD_START, COLLISIONS, DELAYS, *COMPARED, SHOP, TRANSFER, ALL])  # type: ignore[misc] # members are those of EXPERIMENTS

SizeOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        metavar="N",
        help=f"Only the first N events by time (in worlds: requests); {LIMIT:,} by default, other sizes for some.",
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=f"How many seeds of worlds: of shop, {SEED_COUNT} by default; of transfer, {WORLD_SEEDS}.",
    ),
]


def reproduce(
    name: Annotated[Name, typer.Argument(help="The experiment.")],
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="STREAM_RECO_DATA", help=f"Folder with {LOG}, {FILMS}, {TALKINGDATA}, {FASHION}.", metavar="DIR"
        ),
    ] = None,
    limit: SizeOption = None,
    warm_up: WarmUpOption = None,
    seeds: SeedsOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Replays in parallel.", metavar="N")] = 1,
    out: Annotated[Path, typer.Option(help="Folder to write the pages to.", metavar="DIR")] = Path("docs/results"),
    work: Annotated[
        Path | None, typer.Option(help="Folder of finished replays; in the cache folder by default.", metavar="DIR")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore finished replays and run all again.")] = False,
) -> None:
    """Run the replays of an experiment and write its page of results, the figures and a plot.

    Finished replays are kept, so the same command resumes where it stopped. `delays` replays whole logs, whatever
    --limit and --warm-up are. `shop` simulates its worlds and needs no log. Of `transfer` --limit is how long the first
    shop lives.
    """
    folder = _work_folder(work)
    hashed = {}
    if name in (COLLISIONS, ALL):
        # Before the hours of the others, so that a missing log is reported at once.
        hashed = collisions.collision_stores(_data_folder(data, LOG), folder, limit, warm_up)
    if name in (*EXPERIMENTS, ALL):
        store = ResultStore(folder, _data_folder(data, LOG) / LOG, _size(limit, warm_up))
        _reproduce_replays(list(EXPERIMENTS) if name == ALL else [name.value], store, out, jobs, fresh=fresh)
    if hashed:
        _reproduce_collisions(hashed, out, jobs, fresh=fresh)
    if name in (DELAYS, ALL):
        _reproduce_delays(_data_folder(data, TALKINGDATA), work, out, jobs, fresh=fresh)
    sizes = (None, None) if name == ALL else (limit, warm_up)
    if name in (COLD_START, ALL):
        walked = cold_start_stores(_data_folder(data, FILMS), folder, *sizes, fresh=fresh)
        _reproduce_cold_start(walked, out, jobs, fresh=fresh)
    for stores, write in _compared(name.value, data, folder, Size(*sizes), seeds):
        _reproduce_stores(stores, write, out, jobs, fresh=fresh)
    if name in (SHOP, ALL):
        _reproduce_shop(WorldStore(folder, sizes[0]), seeds or SEED_COUNT, out, jobs, fresh=fresh)


def _compared(
    name: str, data: Path | None, work: Path, size: Size, seeds: int | None
) -> Iterator[tuple[dict[RunStore, list[Run]], WritePage]]:
    """The runs of arms that are compared in worlds and on films, and who writes their page.

    `size`: that of all runs, None where they have their own.
    """
    for page, (runs, write) in COMPARED.items():
        if name in (page, ALL):
            yield handover_stores(runs(), _data_folder(data, FILMS), work, size.limit, size.warm_up), write
    if name in (TRANSFER, ALL):
        chosen = transfer_runs(seeds or WORLD_SEEDS)
        yield transfer_stores(chosen, _data_folder(data, FILMS), work, size.limit), write_transfer_page


def _size(limit: int | None, warm_up: int | None) -> Size:
    most = LIMIT if limit is None else limit
    return checked_size(Size(most, most // 3 if warm_up is None else warm_up))


def _reproduce_replays(names: list[str], store: ResultStore, out: Path, jobs: int, *, fresh: bool) -> None:
    _create_folder(out)
    chosen = [EXPERIMENTS[one]() for one in names]
    run_all(store, [run for one in chosen for run in one.everything], jobs, fresh=fresh)
    for one in chosen:
        for path in write_experiment_page(one, store, out):
            say(f"wrote {path}")


def _reproduce_collisions(stores: dict[CollisionLog, ResultStore], out: Path, jobs: int, *, fresh: bool) -> None:
    _create_folder(out)
    for source, store in stores.items():
        run_all(store, [source.run], jobs, fresh=fresh)
    for path in collisions.write_collisions_page(stores, out):
        say(f"wrote {path}")


def _reproduce_delays(data: Path, work: Path | None, out: Path, jobs: int, *, fresh: bool) -> None:
    _create_folder(out)
    stores = delays.delay_stores(data, _work_folder(work), fresh=fresh)
    for world, store in stores.items():
        run_all(store, list(delays.published_runs(world)), jobs, fresh=fresh)
    for path in delays.write_delays_page(stores, out):
        say(f"wrote {path}")


def _reproduce_cold_start(stores: dict[ColdStartLog, ResultStore], out: Path, jobs: int, *, fresh: bool) -> None:
    _create_folder(out)
    for source, store in stores.items():
        run_all(store, list(source.runs), jobs, fresh=fresh)
    for path in cold_start.write_cold_start_page(stores, out):
        say(f"wrote {path}")


def _reproduce_stores(
    stores: dict[RunStore, list[Run]], write: WritePage, out: Path, jobs: int, *, fresh: bool
) -> None:
    _create_folder(out)
    for store, chosen in stores.items():
        run_all(store, chosen, jobs, fresh=fresh)
    for path in write(stores, out):
        say(f"wrote {path}")


def _reproduce_shop(store: WorldStore, seeds: int, out: Path, jobs: int, *, fresh: bool) -> None:
    _create_folder(out)
    run_all(store, list(shop_runs(seeds)), jobs, fresh=fresh)
    for path in shop.write_shop_page(store, seeds, out):
        say(f"wrote {path}")


def write_experiment_page(experiment: Experiment, store: ResultStore, out: Path) -> list[Path]:
    """Write the page of an experiment whose runs are all in the store, its figures and its plot; returns the files."""
    found = ExperimentResults(experiment, {run: store.finished(run) for run in experiment.everything})
    from stream_reco.experiments.pages.plot import experiment_plot

    return write_page(
        out,
        experiment.name,
        lambda picture: experiment_page(found, picture),
        experiment_figures(found),
        experiment_plot(found),
    )


def _data_folder(data: Path | None, log: str) -> Path:
    """The folder with a log, by the name that it has there."""
    from stream_reco.datasets import globo, movielens, talkingdata

    if data is None:
        source = {LOG: globo, FILMS: movielens}.get(log, talkingdata)
        where = (source.__doc__ or "").partition("Get it at ")[2].partition(" ")[0].rstrip(":")
        raise Misuse(f"set --data or STREAM_RECO_DATA to the folder that holds {log}; the clicks are at {where}")
    return data


def _work_folder(work: Path | None) -> Path:
    from platformdirs import user_cache_path

    return (work or user_cache_path("stream-reco") / "reproduce").absolute()


def _create_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot create {out}: {error.strerror}; name another folder with --out") from error
