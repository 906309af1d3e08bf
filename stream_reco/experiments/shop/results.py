"""The figures of the experiment on closed-loop worlds, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result
from stream_reco.experiments.shop.plan import WorldArm, world_arms
from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS

_STUDENT = (0.0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t by degrees of freedom, from 1 (index 0 is unused)."""
_NORMAL = 1.96
_KEPT = (
    "click_through",
    "click_through_last_fifth",
    "share_of_oracle",
    "regret",
    "coverage",
    "new_items",
    "new_items_shown",
    "shown_after_dislike",
    "shown_unavailable",
    "places_missing",
    "calibration",
    "calibration_last_fifth",
    "actions",
    "tenths",
    "seconds",
    "git_commit",
    "git_changed",
)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and half the width of its 95 % confidence interval; 0 where there is one seed."""

    mean: float
    half: float


def interval(values: list[float]) -> Interval:
    """The mean of values with its interval, of Student's t."""
    freedom = len(values) - 1
    if freedom < 1:
        return Interval(fmean(values), 0.0)
    quantile = _STUDENT[freedom] if freedom < len(_STUDENT) else _NORMAL
    return Interval(fmean(values), quantile * stdev(values) / sqrt(len(values)))


@dataclass(frozen=True)
class ShopResults:
    """The results of all runs, with the seeds from 0 to `seeds` − 1, of the first `requests` requests (None: all)."""

    results: Mapping[Run, Result]
    seeds: int
    requests: int | None = None

    def values(self, row: WorldArm, name: str) -> list[float]:
        """A figure of an arm by seed; without the seeds in which it has none."""
        found = (self.results[row.run(seed)].report[name] for seed in range(self.seeds))
        return [float(value) for value in found if value is not None]

    def interval(self, row: WorldArm, name: str) -> Interval | None:
        """A figure over seeds; None where no seed has it."""
        values = self.values(row, name)
        return interval(values) if values else None

    def tenths(self, row: WorldArm, name: str) -> list[float | None]:
        """A figure of each tenth of the requests, as means over seeds; None where no seed has it."""
        rows = [self.results[row.run(seed)].report["tenths"][name] for seed in range(self.seeds)]
        means = []
        for column in zip(*rows, strict=True):
            values = [value for value in column if value is not None]
            means.append(fmean(values) if values else None)
        return means


def shop_figures(found: ShopResults) -> dict[str, object]:
    """All figures, for a file."""
    return {
        "experiment": "shop",
        "seeds": found.seeds,
        "requests": found.requests,
        "worlds": {name: _world(found, name) for name in WORLD_PLANS},
    }


def _world(found: ShopResults, world: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for row in world_arms(world):
        runs = [found.results[row.run(seed)] for seed in range(found.seeds)]
        figures[row.title] = {
            "settings": list(row.settings),
            "runs": [
                {
                    "command": result.command,
                    "machine": dict(result.machine),
                    "jobs": result.jobs,
                    **{name: result.report.get(name) for name in _KEPT},
                }
                for result in runs
            ],
        }
    return figures
