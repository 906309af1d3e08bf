"""What the experiment on a second shop is made of: arms, simulated worlds over seeds, and films in two halves."""

from __future__ import annotations

from pathlib import Path

from stream_reco.experiments.runs.plan import Run, Size
from stream_reco.experiments.runs.result_store import ResultStore, RunStore
from stream_reco.experiments.shop.plan import WORLD_NAMES, WorldStore
from stream_reco.terminal.log_options import Format

COMMAND = "second-shop"
EMPTY, TRANSFERRED, POPULAR = "empty", "transfer", "popularity"
"""Arms: the second shop started empty, started by transfer, and, of films alone, the number of likes so far."""
FILMS = "ml100k"
FILMS_GROUP = "films"
REQUESTS = 1_500
"""How long the first shop of a world lives by default: half of a run of the shop and of jobs, a quarter of news."""
WORLD_SEEDS, FILM_SEEDS = 3, 2
"""How many. Of a world: other people, items and requests in both shops. Of films: another split."""
FIRST_REQUESTS = (30, 100, 300)
FIRST_RATINGS = (100, 300, 1_000)
"""What is counted of the second shop; the last of them is how long it lives."""
ZERO_SHOT, NEWCOMERS = "before any event", "first slate of each person"
"""Rows of a world: slates of all people before anything is done, and of those who come within the last of
`FIRST_REQUESTS` the first ones."""

SHARE, HITS, AUC = "share_of_oracle", "hr@10", "auc"
"""Measures: of worlds Σ of the true chances of what was shown over that of the best slates; of films two."""


def row_of(first: int, what: str) -> str:
    """The name of the row on the first so many requests or ratings."""
    return f"first {first:,} {what}"


WORLD_ROWS = (ZERO_SHOT, *(row_of(first, "requests") for first in FIRST_REQUESTS), NEWCOMERS)
FILM_ROWS = tuple(row_of(first, "ratings") for first in FIRST_RATINGS)


def second_world_run(world: str, seed: int) -> Run:
    """Both arms in the second world of a seed."""
    return Run(f"transfer {world} {seed}", ("--world", world, "--seed", str(seed)), world, command=COMMAND)


def second_films_run(seed: int) -> Run:
    """Both arms on the second half of films."""
    return Run(f"transfer films {seed}", ("--seed", str(seed)), FILMS_GROUP, command=COMMAND)


def transfer_runs(seeds: int = WORLD_SEEDS) -> tuple[list[Run], list[Run]]:
    """The runs in worlds, whole seeds after each other, and on films."""
    worlds = [second_world_run(world, seed) for seed in range(seeds) for world in WORLD_NAMES]
    return worlds, [second_films_run(seed) for seed in range(FILM_SEEDS)]


def transfer_stores(
    runs: tuple[list[Run], list[Run]], data: Path, work: Path, limit: int | None = None
) -> dict[RunStore, list[Run]]:
    """The stores with the runs of each. `limit`: how long the first shop lives, in requests of worlds and events of
    films; None: `REQUESTS`, and all events.

    Raises `Failure` where the log cannot be read.
    """
    shown = f"$STREAM_RECO_DATA/{FILMS}/ratings.csv.gz"
    path = data / shown.removeprefix("$STREAM_RECO_DATA/")
    films = ResultStore(work, path, Size(limit, None), Format.movielens.value, shown)
    return {WorldStore(work, limit or REQUESTS): runs[0], films: runs[1]}
