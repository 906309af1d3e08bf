"""The figures of the experiment on delays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stream_reco.experiments.delays.lead_times import LeadTimes
from stream_reco.experiments.delays.plan import DelayWorld
from stream_reco.experiments.runs.plan import Run, config_text
from stream_reco.experiments.runs.result_store import Result

ALL, HALF, TENTHS = "all", "second_half", "tenths"
_KEPT = ("impressions", "evaluated", "hr@10", "ndcg@10", "examples", "seconds", "git_commit", "git_changed")


@dataclass(frozen=True)
class DelayResults:
    """The results on one log. `ceiling`: figures of the true probabilities as those of a run, where they are known.

    Where policies are only compared, there are no `leads`.
    """

    world: DelayWorld
    results: Mapping[Run, Result]
    leads: LeadTimes | None = None
    ceiling: Mapping[str, Any] | None = None

    @property
    def oracle(self) -> Run:
        return self.world.runs[0]

    def figures(self, run: Run, part: str = ALL) -> Any:
        """The figures of what was shown: of all of it, of its second half, or a list of those of its tenths."""
        shown = self.results[run].report["impressions"]
        return shown if part == ALL else shown[part]

    def change(self, run: Run, name: str, part: str = ALL) -> float:
        """By how much a run differs from the oracle."""
        return float(self.figures(run, part)[name]) - float(self.figures(self.oracle, part)[name])

    def relative_calibration(self, run: Run, part: str = ALL) -> float:
        """Σ predicted over that of the oracle."""
        return float(self.figures(run, part)["calibration"]) / float(self.figures(self.oracle, part)["calibration"])


def delays_figures(found: list[DelayResults]) -> dict[str, object]:
    """All figures, for a file."""
    return {"experiment": "delays", "worlds": {one.world.name: _world(one) for one in found}}


def _world(found: DelayResults) -> dict[str, object]:
    runs = {
        found.world.title_of(run): {
            "command": result.command,
            "settings": config_text(run).splitlines(),
            "machine": dict(result.machine),
            **{name: result.report.get(name) for name in _KEPT},
        }
        for run, result in found.results.items()
    }
    return {"runs": runs, "ceiling": found.ceiling, "leads": asdict(found.leads) if found.leads else None}
