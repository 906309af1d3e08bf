"""The corrections over several simulated worlds: the distance to each world's oracle, with its standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from stream_reco.experiments.delays.results import HALF, DelayResults


@dataclass(frozen=True)
class Spread:
    """A mean over worlds and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class PolicySpread:
    """One policy over all worlds, of the second half of each log.

    `auc`: minus the oracle's of the same world and seed; `calibration`: Σ predicted / Σ observed; `relative`: that over
    the oracle's.
    """

    title: str
    auc: Spread
    calibration: Spread
    relative: Spread


def compare_over_worlds(worlds: Sequence[DelayResults]) -> Iterator[PolicySpread]:
    """The runs that every world has, the oracle first."""
    for number, run in enumerate(worlds[0].world.compared):
        runs = [(one, one.world.compared[number]) for one in worlds]
        yield PolicySpread(
            worlds[0].world.title_of(run),
            _spread([one.change(same, "auc", HALF) for one, same in runs]),
            _spread([float(one.figures(same, HALF)["calibration"]) for one, same in runs]),
            _spread([one.relative_calibration(same, HALF) for one, same in runs]),
        )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) / sqrt(len(values)))
