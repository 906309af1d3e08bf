"""The figures of the experiment on a second shop, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result
from stream_reco.experiments.shop.plan import WORLD_NAMES
from stream_reco.experiments.shop.results import interval
from stream_reco.experiments.transfer.plan import (
    AUC,
    EMPTY,
    FILM_ROWS,
    FILMS_GROUP,
    HITS,
    POPULAR,
    SHARE,
    TRANSFERRED,
    WORLD_ROWS,
)

SOURCES = (*WORLD_NAMES, FILMS_GROUP)
_KEPT = ("seed", "events", "evaluated", "arms", "transferred", "seconds", "git_commit", "git_changed")


def rows_of(source: str) -> tuple[str, ...]:
    """The rows of the table of a source."""
    return FILM_ROWS if source == FILMS_GROUP else WORLD_ROWS


def measures_of(source: str) -> tuple[str, ...]:
    """The measures of a source."""
    return (HITS, AUC) if source == FILMS_GROUP else (SHARE,)


def arms_of_source(source: str) -> tuple[str, ...]:
    """The arms of a source."""
    return (EMPTY, TRANSFERRED, *((POPULAR,) if source == FILMS_GROUP else ()))


@dataclass(frozen=True)
class PairedDifference:
    """A figure of the shop by transfer minus that of the empty one: mean over seeds, its standard error, and half of
    the 95 % interval of Student's t; None where there is one seed."""

    mean: float
    error: float | None
    half: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is above or below 0, else 0."""
        if self.half is None or abs(self.mean) <= self.half:
            return 0
        return 1 if self.mean > 0 else -1


def paired_difference(empty: list[float], transferred: list[float]) -> PairedDifference:
    """The difference of two figures by seed, both of the same seeds."""
    differences = [after - before for before, after in zip(empty, transferred, strict=True)]
    if len(differences) < 2:
        return PairedDifference(differences[0], None, None)
    error = stdev(differences) / sqrt(len(differences))
    return PairedDifference(fmean(differences), error, interval(differences).half)


@dataclass(frozen=True)
class TransferResults:
    """The results of all runs."""

    results: Mapping[Run, Result]

    def reports(self, source: str) -> list[Mapping[str, Any]]:
        """The reports of a source, by seed."""
        return [result.report for run, result in self.results.items() if run.group == source]

    def rows(self, source: str) -> list[str]:
        """The rows that all runs of a source have."""
        reports = self.reports(source)
        return [row for row in rows_of(source) if reports and all(row in one["arms"][EMPTY] for one in reports)]

    def values(self, source: str, row: str, arm: str, measure: str) -> list[float]:
        """A figure by seed."""
        return [float(one["arms"][arm][row][measure]) for one in self.reports(source)]

    def difference(self, source: str, row: str, measure: str) -> PairedDifference:
        """By how much the shop by transfer has more of a measure than the empty one."""
        empty, transferred = (self.values(source, row, arm, measure) for arm in (EMPTY, TRANSFERRED))
        return paired_difference(empty, transferred)

    def evaluated(self, source: str, row: str) -> int:
        """How many slates, or ratings, one arm has in all."""
        name = "ranked" if source == FILMS_GROUP else "slates"
        return round(sum(self.values(source, row, EMPTY, name)))


def transfer_figures(found: TransferResults) -> dict[str, object]:
    """All figures, for a file."""
    return {
        "experiment": "transfer",
        "runs": {run.title: result.published(_KEPT) for run, result in found.results.items()},
    }
