"""The page on collisions: what it costs that ids share rows, and how many do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stream_reco.experiments.collisions.hash import PAPER_IDS, PAPER_ROWS, sharing
from stream_reco.experiments.collisions.plan import SETTINGS, WINDOWS, CollisionLog
from stream_reco.experiments.pages.tables import ExperimentResults, change, machine_lines
from stream_reco.experiments.runs.plan import Run, config_name

Shelves = Mapping[CollisionLog, ExperimentResults]
_OF_VARIANTS = ("hash_bits", "seed", "auc", "logloss", "calibration", "windows", "tables")
_INTRO = (
    "One model learns from one stream of examples, several times side by side: each batch is given to all, with the"
    " same negatives, in the same order. All that differs is the row of the embedding table that the id of a user or"
    " an item gets: its own, as in this project's table, or that of the MD5 of the id modulo 2ⁿ, which other ids may"
    " share, as in tables of a fixed size. Users have 2ⁿ rows and items as many. Signals, histories and the choice of"
    " negatives know the true ids in all of them. Each batch is predicted with all that was learned before it, and"
    " learned from after."
)
_ON_PLOT = (
    f"Each point is of a {WINDOWS}th of the events. What comes before the dotted line does not count in the tables"
    " below; the very beginning, where next to nothing is learned yet, is left out. Grey: the collisionless table with"
    " any of the seeds."
)
_READING = """\
- These logs are small: the Monolith paper's figures are of 25 million ratings and of weeks of production. Most ids here
  have few examples, and where little is known of an id, little is lost by mistaking it for another. What is not seen
  here is not shown to be absent there.
- A row that is shared is trained by more examples. With many new ids in a short log that can be a gain, as any cruder
  grouping would be, and it can hide what collisions cost.
- The model reads counters, co-visits and histories of times beside the rows, all by true ids. They tell much of what a
  shared row cannot, so collisions cost less here than in a model of embeddings alone.
- AUC and logloss are of clicks, or ratings from 4 stars, against sampled negatives, half of them drawn by popularity
  and half from what the signals would propose, after the correction for sampling. They are not of what would be served,
  and not to be compared with other pages: only here there are so few negatives a positive. How a
  candidate came to be sampled is known in these predictions, so even a model that tells no ids apart is above 0.5.
- One hash function decides which ids meet, so each size is one draw.
- Contexts keep their own rows: they have so few values that nobody would hash them.
- "Rows had" are those of users and of items that were ever given. "MB" is all that the two tables have allocated at the
  end, optimizer's state, index and slack included; tables grow by blocks, so that small ones look alike."""


def figures_of(found: Shelves) -> dict[str, object]:
    """All figures, for a file."""
    return {
        "experiment": "collisions",
        "paper": {name: vars(sharing(range(count), PAPER_ROWS)) for name, count in PAPER_IDS.items()},
        "logs": {shelf.name: _log(one) for shelf, one in found.items()},
    }


def _log(found: ExperimentResults) -> dict[str, object]:
    result = found.results[found.experiment.full]
    variants = {run.title: {name: one.report[name] for name in _OF_VARIANTS} for run, one in found.results.items()}
    of_all = {name: value for name, value in result.report.items() if name not in (*_OF_VARIANTS, "settings", "log")}
    return {
        "command": result.command,
        "config": SETTINGS,
        "machine": dict(result.machine),
        "jobs": result.jobs,
        **of_all,
        "variants": variants,
    }


def page_of(found: Shelves, plot: str | None) -> str:
    """The page in Markdown; `plot` is the name of the picture beside it, if there is one."""
    results = [one.results[shelf.experiment.full] for shelf, one in found.items()]
    return "\n".join(
        [
            "# What it costs that ids share rows",
            "",
            "Made by `stream-reco reproduce collisions`, which writes this page anew.",
            "",
            _INTRO,
            "",
            *([f"![The figures below over time]({plot})", "", _ON_PLOT, ""] if plot else []),
            *(line for shelf, one in found.items() for line in _section(shelf, one)),
            *_paper(),
            "## How to read this",
            "",
            _READING,
            "",
            *machine_lines(results),
            *_commands(found),
            "",
        ]
    )


def _section(shelf: CollisionLog, found: ExperimentResults) -> Iterator[str]:
    experiment = found.experiment
    yield from (f"## {shelf.heading}", "", _about(found.results[experiment.full].report), "")
    heads = [
        "rows for each",
        "users sharing",
        "items sharing",
        "rows had",
        "MB",
        "AUC",
        "Δ",
        "logloss",
        "Δ",
        "calibration",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---|" * (len(heads) - 1)
    for run in experiment.everything:
        yield f"| {' | '.join(_cells(found, run))} |"
    told = []
    for name, label in (("auc", "AUC"), ("logloss", "logloss")):
        least, most = found.noise(name)
        told.append(f"{label} from {least:.4f} to {most:.4f}")
    yield ""
    yield (
        f"Chance: the collisionless table gets {' and '.join(told)} with other seeds of the weights and rows at first,"
        " from the same examples. Differences that are no larger than this range are marked ≈; where = stands the"
        " figure is the very same."
    )
    yield ""


def _about(report: Mapping[str, Any]) -> str:
    users, items = (report["tables"][name]["ids"] for name in ("user", "item"))
    return (
        f"{report['events']:,} events, the first {report['warm_up']:,} of them learned from but not counted in the"
        f" table; {users:,} users and {items:,} items were learned from, {report['evaluated']:,} predictions of each"
        f" table counted. All tables together took {report['seconds']:,.0f} s."
    )


def _cells(found: ExperimentResults, run: Run) -> list[str]:
    report = found.results[run].report
    users, items = report["tables"]["user"], report["tables"]["item"]
    is_seed = run in found.experiment.seeds
    cells = [
        run.title,
        *(f"{one['shared'] / max(1, one['ids']):.1%}" for one in (users, items)),
        f"{users['rows']:,} + {items['rows']:,}",
        f"{(users['bytes'] + items['bytes']) / 1e6:.1f}",
    ]
    for name in ("auc", "logloss"):
        cells += [f"{report[name]:.4f}", "" if is_seed else change(found, run, name)]
    return [*cells, f"{report['calibration']:.3f}"]


def _paper() -> Iterator[str]:
    yield from ("## How many ids meet in the paper", "")
    yield (
        "The Monolith paper hashes MovieLens 25M by MD5 for the same comparison. With ids counted from 0,"
        f" `int(md5(str(i)), 16) % {PAPER_ROWS:_}` gives these numbers of different rows, computed anew for this page:"
    )
    yield from ("", "| ids | how many | different rows | ids that share one |", "|---|---|---|---|")
    for name, count in PAPER_IDS.items():
        found = sharing(range(count), PAPER_ROWS)
        yield f"| {name} | {count:,} | {found.rows:,} | {found.shared:,} ({found.share:.1%}) |"
    yield ""


def _commands(found: Shelves) -> Iterator[str]:
    yield from ("## Commands", "")
    for shelf, one in found.items():
        yield f"- `{one.results[shelf.experiment.full].command}`"
    yield f"- {' and '.join(f'`{config_name(shelf.run)}`' for shelf in found)} hold " + ", ".join(
        f"`{line}`" for line in SETTINGS
    )
