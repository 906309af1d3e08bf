"""The figures of the experiment on the handover, over the seeds of the world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from stream_reco.experiments.handover.paired_tally import BUCKETS, DIFFERENCES, MEASURES
from stream_reco.experiments.handover.plan import BOTH, FILMS_GROUP, WORLD, arm_settings
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result

SIDES = ("item", "user")
SOURCES = (WORLD, FILMS_GROUP)
_QUANTILE = 1.96
_KEPT = ("events", "evaluated", "evidence", "seconds", "seconds_by_stage", "git_commit", "git_changed")


@dataclass(frozen=True)
class Comparison:
    """By how much `BOTH` is better (above 0) than another arm, and half of a 95 % interval."""

    other: str
    by: float
    half: float | None

    @property
    def is_worse(self) -> bool:
        """Whether it is below, and chance does not explain it."""
        return self.half is not None and self.by < -self.half

    @property
    def is_better(self) -> bool:
        """Whether it is above, and chance does not explain it."""
        return self.half is not None and self.by > self.half


@dataclass(frozen=True)
class EvidenceCell:
    """What was found where there was so much evidence."""

    evaluated: int
    owners: int
    means: Mapping[str, Mapping[str, float]]
    """Measure → arm → mean."""
    comparisons: Mapping[str, Mapping[str, Comparison]]
    """Measure → other arm → how `BOTH` compares."""
    levels: Mapping[str, float]
    """Arm → what it said in all over what was true; of items only."""

    def with_best(self, name: str) -> Comparison:
        """How `BOTH` compares with the best of the others by a measure."""
        sign = _sign(name)
        return max(self.comparisons[name].values(), key=lambda one: sign * self.means[name][one.other])


@dataclass(frozen=True)
class HandoverResults:
    """The results of all runs."""

    results: Mapping[Run, Result]

    def runs(self, source: str) -> list[Result]:
        """The results of one of `SOURCES`."""
        return [result for run, result in self.results.items() if run.group == source]

    def cell(self, source: str, side: str, bucket: str) -> EvidenceCell | None:
        """What was found in a bucket over all runs of a source; None where nothing was evaluated."""
        found = [result.report["evidence"].get(side, {}).get(bucket) for result in self.runs(source)]
        entries = [entry for entry in found if entry]
        return pooled(entries) if entries else None

    def cells(self, source: str, side: str) -> Iterator[tuple[str, EvidenceCell]]:
        """The buckets in which something was evaluated."""
        for bucket in BUCKETS:
            cell = self.cell(source, side, bucket)
            if cell is not None:
                yield bucket, cell


def pooled(entries: list[Mapping[str, Any]]) -> EvidenceCell:
    """The entries of a bucket of several runs as one, each by how much was evaluated in it."""
    total = sum(entry["evaluated"] for entry in entries)
    shares = [entry["evaluated"] / total for entry in entries]
    measures = [name for name in MEASURES if all(name in entry for entry in entries)]
    means = {name: _means([entry[name] for entry in entries], shares) for name in measures}
    comparisons = {
        name: {
            arm: _comparison(arm, _sign(name), shares, [entry[DIFFERENCES[name]][arm] for entry in entries])
            for arm in means[name]
            if arm != BOTH
        }
        for name in measures
    }
    levels = _means([entry.get("level", {}) for entry in entries], shares)
    return EvidenceCell(total, sum(entry["owners"] for entry in entries), means, comparisons, levels)


def _means(found: list[Mapping[str, float]], shares: list[float]) -> dict[str, float]:
    """Means of several runs by arm, of the arms that all of them have."""
    arms = [arm for arm in found[0] if all(arm in one for one in found)]
    return {arm: sum(share * one[arm] for share, one in zip(shares, found, strict=True)) for arm in arms}


def _comparison(
    arm: str, sign: float, shares: list[float], differences: list[tuple[float, float | None]]
) -> Comparison:
    by = sign * sum(share * mean for share, (mean, _) in zip(shares, differences, strict=True))
    variances = [variance for _, variance in differences if variance is not None]
    if len(variances) < len(differences):
        return Comparison(arm, by, None)
    half = _QUANTILE * sqrt(sum(share**2 * one for share, one in zip(shares, variances, strict=True)))
    return Comparison(arm, by, half)


def _sign(name: str) -> float:
    """1 for a measure of which more is better, -1 for the loss."""
    return -1.0 if name == "loss" else 1.0


def handover_figures(found: HandoverResults, experiment: str, arms: Iterable[str]) -> dict[str, object]:
    """All figures, for a file."""
    return {
        "experiment": experiment,
        "arms": {arm: arm_settings(arm) for arm in arms},
        "runs": {run.title: result.published(_KEPT) for run, result in found.results.items()},
    }
