"""The simulated log of the experiment on delays, made once and kept, with the true probability of each impression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import encode
from stream_reco.experiments.delays.plan import DAYS, DelayWorld
from stream_reco.simulate.late_clicks import late_clicks
from stream_reco.terminal.errors import Failure

USERS, ITEMS, REQUESTS_PER_DAY = 150, 150, 500.0


def simulated_log_of(world: DelayWorld, folder: Path, *, fresh: bool = False) -> Path:
    """The log of a simulated world as events in JSON lines, generated if missing or `fresh`; the folder is created.

    Raises `Failure` where it cannot be written.
    """
    path = folder / world.shown_log
    chances = probabilities_path(path)
    if path.exists() and chances.exists() and not fresh:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(world.seed, path, chances)
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}; name another folder with --work") from error
    return path


def probabilities_path(log: Path) -> Path:
    """The file next to a log with the true probabilities, float64 in the order of the impressions."""
    return log.with_suffix(".npy")


def true_probabilities(log: Path) -> NDArray[np.float64]:
    """float64[n]: the probability that each impression of the log is clicked."""
    chances: NDArray[np.float64] = np.load(probabilities_path(log), allow_pickle=False)
    return chances


def _write(seed: int, path: Path, chances_path: Path) -> None:
    chances = []
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        world = late_clicks(DAYS, seed, requests_per_day=REQUESTS_PER_DAY, users=USERS, items=ITEMS)
        for event, chance in world:
            file.write(encode(event) + b"\n")
            if chance is not None:
                chances.append(chance)
    np.save(chances_path, np.array(chances))
    # Last, so that a log without its probabilities is generated again.
    part.replace(path)
