"""What an experiment found as a page of tables, and its figures as JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream_reco.experiments.runs.plan import Experiment, Run, config_name, config_text
from stream_reco.experiments.runs.result_store import Result

COMPARED = ("hr@10", "ndcg@10")
_INTROS = {
    "sync": (
        "How often what was learned reaches what is served",
        (
            "The same clicks, replayed with other intervals of event time between two publications. The trainer"
            " learns from every click at once in all of them; only what requests are answered from grows older. `never`"
            " publishes once, at the end of the warm-up."
        ),
    ),
    "ablations": (
        "What each part is worth",
        (
            "The same clicks, replayed with one part left out at a time. A source of candidates is left out of what is"
            " served alone: training draws its negatives as before, so the model is the same and its AUC, logloss and"
            " calibration are too. A family of features is hidden from the model in training and in serving. What one"
            " part less costs is what the others cannot make up for, not what it would do alone."
        ),
    ),
}
_HEADINGS = {"source": "Without a candidate source", "features": "Without a feature family"}
_LABELS = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}
_KEPT = (
    "events",
    "evaluated",
    "hr@10",
    "ndcg@10",
    "mrr@10",
    "auc",
    "logloss",
    "calibration",
    "candidates_per_request",
    "freshness_seconds",
    "syncs",
    "seconds",
    "seconds_by_stage",
    "events_per_second",
    "ingest_per_second",
    "recommend_per_second",
    "peak_rss_bytes",
    "dead_letters",
    "git_commit",
    "git_changed",
)


@dataclass(frozen=True)
class ExperimentResults:
    """The results of all runs of an experiment."""

    experiment: Experiment
    results: Mapping[Run, Result]

    def figure(self, run: Run, name: str) -> float:
        """One figure of a run."""
        return float(self.results[run].report[name])

    def difference(self, run: Run, name: str) -> float:
        """By how much a run differs from the full loop."""
        return self.figure(run, name) - self.figure(self.experiment.full, name)

    def noise(self, name: str) -> tuple[float, float]:
        """The least and the most that runs of the full loop had that differ in their seed alone."""
        values = [self.figure(run, name) for run in (self.experiment.full, *self.experiment.seeds)]
        return min(values), max(values)

    def is_noise(self, run: Run, name: str) -> bool:
        """Whether seeds alone make as large a difference."""
        least, most = self.noise(name)
        return abs(self.difference(run, name)) <= most - least


def figures_of(found: ExperimentResults) -> dict[str, object]:
    """The figures as JSON: those of each run, and once the settings that they share."""
    runs = {
        run.title: {
            "command": found.results[run].command,
            "machine": dict(found.results[run].machine),
            "jobs": found.results[run].jobs,
            **{name: found.results[run].report.get(name) for name in _KEPT},
        }
        for run in found.experiment.everything
    }
    settings = found.results[found.experiment.full].report["settings"]
    return {
        "experiment": found.experiment.name,
        "full": found.experiment.full.title,
        "runs": runs,
        "settings_of_full": settings,
    }


def page_of(found: ExperimentResults, plot: str | None) -> str:
    """The page in Markdown; `plot` is the name of the picture beside it, if there is one."""
    title, intro = _INTROS[found.experiment.name]
    return "\n".join(
        [
            f"# {title}",
            "",
            f"Made by `stream-reco reproduce {found.experiment.name}`, which writes this page anew.",
            "",
            intro,
            "",
            *([f"![The figures below as a plot]({plot})", ""] if plot else []),
            *_tables(found),
            *_noise(found),
            *_reading(),
            *machine_lines(found.results.values()),
            *_commands(found),
            "",
        ]
    )


def _tables(found: ExperimentResults) -> Iterator[str]:
    experiment = found.experiment
    if experiment.name == "sync":
        yield from _table(found, "sync every", experiment.runs, lambda run: run.options[-1] + _unit(run))
        return
    for group, heading in _HEADINGS.items():
        worst_first = sorted(
            (run for run in experiment.runs if run.group == group), key=lambda run: found.figure(run, "ndcg@10")
        )
        yield from (f"## {heading}", "")
        yield from _table(found, "without", [experiment.full, *worst_first], lambda run: _left_out(run, experiment))


def _unit(run: Run) -> str:
    return "" if run.options[-1] == "never" else " s"


def _left_out(run: Run, experiment: Experiment) -> str:
    return "– (full loop)" if run == experiment.full else run.options[-1]


def _table(found: ExperimentResults, first: str, runs: Iterable[Run], name: Callable[[Run], str]) -> Iterator[str]:
    heads = [first, "HR@10", "Δ", "NDCG@10", "Δ", "AUC", "logloss", "calibration", "events/s", "candidates a request"]
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---|" * (len(heads) - 1)
    for run in runs:
        yield f"| {' | '.join([name(run), *_cells(found, run)])} |"
    yield ""


def _cells(found: ExperimentResults, run: Run) -> Iterator[str]:
    for name in COMPARED:
        yield f"{found.figure(run, name):.4f}"
        yield change(found, run, name)
    report: Mapping[str, Any] = found.results[run].report
    for name, form in (
        ("auc", ".4f"),
        ("logloss", ".4f"),
        ("calibration", ".3f"),
        ("events_per_second", ",.0f"),
        ("candidates_per_request", ",.0f"),
    ):
        value = report.get(name)
        yield "–" if value is None else format(value, form)


def change(found: ExperimentResults, run: Run, name: str) -> str:
    """By how much a run differs from what it is compared with, as a cell."""
    if run == found.experiment.full:
        return ""
    difference = found.difference(run, name)
    if difference == 0:
        return "="
    return ("≈ " if found.is_noise(run, name) else "") + signed(difference)


def signed(value: float) -> str:
    """A difference with its sign, as typography has it."""
    return f"{value:+.4f}".replace("-", "−")


def _noise(found: ExperimentResults) -> Iterator[str]:
    seeds = ", ".join(str(run.seed) for run in (found.experiment.full, *found.experiment.seeds))
    told = []
    for name, label in _LABELS.items():
        least, most = found.noise(name)
        told.append(f"{label} from {least:.4f} to {most:.4f}")
    yield (
        f"Chance: the full loop with the seeds {seeds} (of weights, rows and negatives; the clicks are the same) gets"
        f" {' and '.join(told)}. Differences to the full loop that are no larger than this range are marked ≈: one run"
        " each cannot tell them from none. Where = stands the figure is the very same: the part changed nothing here."
    )
    yield ""


def _reading() -> Iterator[str]:
    yield (
        "HR@10 and NDCG@10 are of slates that were asked for before each click was learned from, out of all items there"
        " were, with one target each. AUC, logloss and calibration are of the predictions for clicks and sampled"
        " negatives, not for what was served; training draws these from its own signals, whatever the slates hold."
    )
    yield ""


def machine_lines(results: Collection[Result]) -> Iterator[str]:
    """Where results were made, and of which commits."""
    yield from ("## Machine", "")
    for machine in dict.fromkeys(tuple(result.machine.items()) for result in results):
        yield "- " + ", ".join(f"{name} {value}" for name, value in machine)
    jobs = sorted({str(result.jobs) for result in results})
    yield f"- replays at a time: {' or '.join(jobs)}, which the events per second are to be read with"
    commits = sorted({_commit(result.report) for result in results})
    yield f"- commit {', '.join(commits)}"
    if len(commits) > 1:
        yield "- Not all runs are of one commit: part of the differences may be the code's. `--fresh` runs all again."
    yield ""


def _commit(report: Mapping[str, Any]) -> str:
    commit = report["git_commit"]
    return "unknown" if commit is None else commit[:10] + (" with changes" if report["git_changed"] else "")


def _commands(found: ExperimentResults) -> Iterator[str]:
    yield from ("## Commands", "")
    yield from (f"- `{found.results[run].command}`" for run in found.experiment.everything)
    for run in found.experiment.seeds:
        yield f"- `{config_name(run)}` holds " + " ".join(f"`{line}`" for line in config_text(run).splitlines())
