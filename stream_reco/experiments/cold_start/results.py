"""The figures of the experiment on cold starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream_reco.experiments.cold_start.first_events import BUCKETS
from stream_reco.experiments.cold_start.plan import NARROWER, OURS, POPULAR, WITH, WITHOUT, ColdStartLog
from stream_reco.experiments.runs.plan import Run, config_text
from stream_reco.experiments.runs.result_store import Result

SIDES = ("user", "item")
RANKINGS = (WITH, NARROWER, WITHOUT, POPULAR)
_KEPT = (
    "events",
    "evaluated",
    "first_events",
    "policies",
    "learned",
    "seconds",
    "seconds_by_stage",
    "ingest_per_second",
    "score_ms",
    "rows",
    "git_commit",
    "git_changed",
)


@dataclass(frozen=True)
class ColdStartResults:
    """The results of all runs, by log."""

    results: Mapping[ColdStartLog, Mapping[Run, Result]]

    def report(self, source: ColdStartLog, title: str) -> Mapping[str, Any]:
        """The report of a run, `WITH` or `WITHOUT` content."""
        return self.results[source][source.run(title)].report

    def cell(self, source: ColdStartLog, side: str, bucket: str, ranking: str) -> Mapping[str, float] | None:
        """HR@10, NDCG@10 and AUC of one of `RANKINGS` in a bucket; None where nothing was evaluated."""
        report = self.report(source, WITH if ranking == POPULAR else ranking)
        entry = report["first_events"].get(side, {}).get(bucket)
        found: Mapping[str, float] | None = entry and entry[POPULAR if ranking == POPULAR else OURS]
        return found

    def events(self, source: ColdStartLog, side: str, bucket: str) -> int:
        """How many events were in a bucket."""
        entry = self.report(source, WITH)["first_events"].get(side, {}).get(bucket)
        return int(entry["events"]) if entry else 0

    def all_results(self) -> Iterator[tuple[Run, Result]]:
        """All runs with their results."""
        for runs in self.results.values():
            yield from runs.items()


def buckets_of(side: str) -> tuple[str, ...]:
    """The buckets of a side, "all" included."""
    return ("all",) if side == "all" else BUCKETS


def cold_start_figures(found: ColdStartResults) -> dict[str, object]:
    """All figures, for a file."""
    return {
        "experiment": "cold_start",
        "logs": {
            source.name: {
                run.title.removeprefix(f"{source.name} "): {
                    "command": result.command,
                    "settings": config_text(run).splitlines(),
                    "machine": dict(result.machine),
                    **{name: result.report.get(name) for name in _KEPT if name in result.report},
                }
                for run, result in runs.items()
            }
            for source, runs in found.results.items()
        },
    }
