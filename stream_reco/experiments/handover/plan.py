"""What the experiments on the handover and on parts are made of: arms, a simulated world over seeds, and films."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stream_reco.experiments.runs.plan import CONTENT_OFF, Run, Size, checked_size
from stream_reco.experiments.runs.result_store import ResultStore, RunStore
from stream_reco.terminal.log_options import Format

COMMAND, PARTS_PAGE = "handover", "ablations_content"
BOTH, CONTENT, IDS = "both", "content alone", "ids alone"
ARMS = (BOTH, CONTENT, IDS)
"""The loop as it is by default, without anything that is learned of an id, and without anything that is said of one."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "content": (),
    "crosses": ("cross",),
    "equal": ("equal",),
    "own and words": ("own", "words"),
    "context": ("context",),
    "appeal": ("appeal",),
}
"""What is left out, and the parts of the content model that it is made of; of `content` all."""
PART_ARMS = (BOTH, *PARTS)
ARM_SETS: Mapping[str, tuple[str, ...]] = {"handover": ARMS, "parts": PART_ARMS}
SEEDS = (0, 1)
"""Of the world: other people, items, requests and first weights."""
PART_SEEDS = (0,)
FILMS = "ml100k"
FILM_SIZE = Size(8_000, 2_500)
REQUESTS, WARM_UP_REQUESTS = 3_000, 1_000
"""Of the world. Before the first evaluation what holds for everybody has been learned."""
WORLD, FILMS_GROUP = "world", "films"
"""Groups of runs."""

_OF_IDS = ("own", "words", "appeal", "popularity", "activity")
"""Parts of the content model whose coefficients are a user's or an item's own."""


def arm_settings(arm: str) -> Mapping[str, Any]:
    """The settings of an arm, those that are not the defaults."""
    if arm == CONTENT:
        from stream_reco.model.features.names import FAMILIES, LEARNED_FAMILIES

        # What is left of the network is an intercept, the position and the rows of the request's context.
        without = [*FAMILIES, *(name for name in LEARNED_FAMILIES if name != "context_rows")]
        return {"model.two_tower_dcn.without": without, **_without(_OF_IDS)}
    if PARTS.get(arm):
        return _without(PARTS[arm])
    return {} if arm == BOTH else {line.split(" = ")[0]: 0.0 for line in CONTENT_OFF}


def _without(parts: Iterable[str]) -> dict[str, float]:
    return {f"model.content.{part}": 0.0 for part in parts}


def world_run(seed: int) -> Run:
    """The three arms on the stream of one seed."""
    return Run(f"handover world {seed}", ("--seed", str(seed)), WORLD, command=COMMAND)


FILM_RUN = Run("handover films", ("--every", "2"), FILMS_GROUP, command=COMMAND)
"""The three arms on the log of films; one in two is evaluated, as that takes most of the time."""


def part_world_run(seed: int) -> Run:
    """The loop without each part, on the stream of one seed."""
    return Run(f"parts world {seed}", ("--arms", "parts", "--seed", str(seed)), WORLD, command=COMMAND)


PART_FILM_RUN = Run("parts films", ("--arms", "parts", "--every", "5"), FILMS_GROUP, command=COMMAND)
"""The loop without each part, on the log of films; one in five is evaluated."""


class HandoverWorldStore(RunStore):
    """Results in the simulated world, by its numbers."""

    def __init__(self, folder: Path, requests: int, warm_up: int) -> None:
        """Raises `Failure` where the folder cannot be created."""
        from stream_reco.experiments.handover.world_stream import HANDOVER

        digest = hashlib.sha256(repr(HANDOVER).encode()).hexdigest()
        super().__init__(folder, checked_size(Size(requests, warm_up)), digest)

    def command_line(self, run: Run, *, shown: bool) -> list[str]:
        """The command, which is shown as it is run."""
        del shown  # it reads no file whose path is this machine's
        return [run.command, "--limit", str(self.size.limit), "--warm-up", str(self.size.warm_up), *run.options]


def handover_runs() -> tuple[list[Run], list[Run]]:
    """The runs of the handover in the world, and on films."""
    return [world_run(seed) for seed in SEEDS], [FILM_RUN]


def part_runs() -> tuple[list[Run], list[Run]]:
    """The runs without each part in the world, and on films."""
    return [part_world_run(seed) for seed in PART_SEEDS], [PART_FILM_RUN]


def handover_stores(
    runs: tuple[list[Run], list[Run]], data: Path, work: Path, limit: int | None = None, warm_up: int | None = None
) -> dict[RunStore, list[Run]]:
    """The stores with the runs of each. `limit` and `warm_up` (None: not given) are for all, in requests and actions.

    Raises `Failure` where the log cannot be read.
    """
    sizes = [
        Size(size.limit if limit is None else limit, size.warm_up if warm_up is None else warm_up)
        for size in (Size(REQUESTS, WARM_UP_REQUESTS), FILM_SIZE)
    ]
    world = HandoverWorldStore(work, sizes[0].limit or REQUESTS, sizes[0].warm_up or 0)
    shown = f"$STREAM_RECO_DATA/{FILMS}/ratings.csv.gz"
    path = data / shown.removeprefix("$STREAM_RECO_DATA/")
    films = ResultStore(work, path, checked_size(sizes[1]), Format.movielens.value, shown)
    return {world: runs[0], films: runs[1]}
