"""The page docs/results/table.md, its figures and its plot, from what `stream-reco bench table --json FILE` wrote.

`python -m tests.bench.table_page FILE [FOLDER]`
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from stream_reco.experiments.pages.plot import STYLE
from stream_reco.experiments.pages.write import write_page
from stream_reco.terminal.machine import machine

Figures = Mapping[str, Any]
COMMAND = "stream-reco bench table --json table.json"
_PANELS = {
    "insert": "a new key",
    "insert_into_used_memory": "the same, slots used before",
    "lookup_zipf": "lookup, Zipf",
    "lookup_uniform": "lookup, uniform",
    "update": "Adagrad update",
}
_COLOURS = {"table": "#1f77b4", "dict": "#d1681c", "torch": "#2e8b57", "pandas": "#7f6bb3"}
_NAMES = {"table": "this table", "dict": "dict", "torch": "torch, static", "pandas": "pandas index"}
_GOALS = (
    ("lookup of 1M Zipf keys in 5M rows, over torch's static array", "lookup_over_torch_embedding", 0.8, "≥"),
    ("new keys, the index alone, over a dict", "index_insert_over_dict", 10.0, "≥"),
    ("new keys, rows of 32 with Adagrad, over a dict", "adagrad_insert_over_dict", 3.0, "≥"),
    ("slowest batch over the median one, 0 to 10M rows", "growth_slowest_over_median_batch", 5.0, "≤"),
    ("bytes a row beside vector and state, at 5M rows", "overhead_bytes_per_row_at_half", 32.0, "≤"),
    ("bytes a row beside vector and state, at 10M rows", "overhead_bytes_per_row", 32.0, "≤"),
    ("training step over torch's sparse Embedding with Adagrad", "step_over_torch_sparse", 1.0, "≥"),
)
_INSERTS = {
    "the index alone: rows that start at zero, with key, time and count": "index",
    "the same with a first vector of one number": "narrow",
    "rows of 32 numbers and Adagrad's state": "adagrad",
    "a `dict`, assigned to in a loop": "dict",
    "the same where Python's ints are there already": "dict_of_ready_ints",
}
_INTRO = (
    "The collisionless table beside what one would else take: a Python `dict`, a static array of torch, an index of"
    " pandas. Rows have 32 numbers and as many of Adagrad's state, keys are scattered 64-bit integers. Ratios are ours"
    " over theirs, of medians taken in turns in one run, on one thread."
)
_PAUSES = (
    ("slowest call of `evict` among 5M rows while none is due", "evict_none_due_slowest_seconds", "ms"),
    ("`evict` of 1,000 rows: median", "evict_1000_due_median_seconds", "ms"),
    ("`evict` of 1,000 rows: slowest", "evict_1000_due_slowest_seconds", "ms"),
    ("batch with a tenth of new keys at the budget, over one that may grow", "budget_median_batch_over_free", ".2f"),
    ("slowest such batch over the median one", "budget_slowest_over_median_batch", ".1f"),
    ("bytes allocated over the budget", "budget_nbytes_over_budget", ".3f"),
    ("a reader beside a writer of another table, over it alone", "threads_reader_beside_writer_over_alone", ".2f"),
    ("the writer beside it, over it alone", "threads_writer_beside_reader_over_alone", ".2f"),
)
_READING = """\
- A `dict` and an index of pandas find a place and hold no vectors; torch's array holds vectors and finds nothing: its
  rows are asked for by number. The table does both.
- New keys come in one batch in the first table; in the second in batches of 10,000, between which the index grows. They
  cost the first touch of 270 bytes a row too. All were measured with memory that the system had touched a moment
  before: a virtual machine asks its host for other memory page by page, which takes up to 1.7 ns a byte instead of
  0.1, more than all that the table does. The column beside it tells the same keys once all rows had been evicted.
- New keys in batches, growth, eviction and the budget are told by three runs, of each batch or call the least: where
  the table pauses all three do, and where the machine pauses hardly ever all of them.
- Costs rise where rows leave the processor's caches and pages its page table's cache, in all that are compared. The
  work of an operation does not grow with the table."""


def page_of(figures: Figures, on: Mapping[str, str], commit: str, picture: str | None) -> str:
    """The page in Markdown; `picture` is the name of the plot beside it, if there is one."""
    return "\n".join(
        [
            "# The embedding table, measured",
            "",
            f"Made from what `{COMMAND}` wrote by `python -m tests.bench.table_page table.json`.",
            "",
            _INTRO,
            "",
            "## What was to be reached",
            "",
            *_goals(figures),
            "",
            "## New keys",
            "",
            *_new_keys(figures),
            "",
            "## From ten thousand rows to thirty million",
            "",
            *([f"![Nanoseconds a key over the number of rows]({picture})", ""] if picture else []),
            *_sizes(figures["sizes"]),
            "",
            "## Pauses and threads",
            "",
            *_pauses(figures),
            "",
            "## Replicas and files",
            "",
            *_replicas(figures),
            "",
            *_files(figures),
            "",
            "## How to read this",
            "",
            _READING,
            "",
            "## Machine",
            "",
            "- " + ", ".join(f"{name} {value}" for name, value in on.items()),
            f"- commit {commit}",
            "",
        ]
    )


def _goals(figures: Figures) -> Iterator[str]:
    yield from ("| what | reached | aim |", "|---|---|---|")
    for text, name, goal, sign in _GOALS:
        value = figures[name]
        met = value >= goal if sign == "≥" else value <= goal
        yield f"| {text} | {value:.2f}{'' if met else ' (missed)'} | {sign} {goal:g} |"


def _new_keys(figures: Figures) -> Iterator[str]:
    yield from ("| what is given an array of new keys | nanoseconds a key |", "|---|---|")
    for text, name in _INSERTS.items():
        yield f"| {text} | {1e9 / figures[f'{name}_inserts_per_second']:.0f} |"


def _sizes(sizes: Mapping[str, Any]) -> Iterator[str]:
    yield from ("Nanoseconds a key, and beside them those of the others.", "")
    yield "| rows | " + " | ".join(_PANELS.values()) + " | slowest batch over median | bytes a row beside its numbers |"
    yield "|---|" + "---|" * (len(_PANELS) + 2)
    for rows, of in _measured(sizes).items():
        cells = [_cell(of, name) for name in _PANELS]
        ours = of["table"]
        rest = f"{ours['insert_slowest_over_median_batch']:.1f} | {ours['overhead_bytes_per_row']:.1f}"
        yield f"| {rows:,} | {' | '.join(cells)} | {rest} |"


def _measured(sizes: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    return {int(rows): of for rows, of in sizes.items() if rows.isdigit()}


def _cell(of: Mapping[str, Mapping[str, float]], name: str) -> str:
    others = [f"{other} {of[other][name]:.0f}" for other in _NAMES if other != "table" and name in of[other]]
    return f"**{of['table'][name]:.0f}**" + (f" ({', '.join(others)})" if others else "")


def _pauses(figures: Figures) -> Iterator[str]:
    yield from ("| what | figure |", "|---|---|")
    for text, name, form in _PAUSES:
        value = figures[name]
        yield f"| {text} | {f'{1e3 * value:.2f} ms' if form == 'ms' else format(value, form)} |"


def _replicas(figures: Figures) -> Iterator[str]:
    yield from ("| precision of a replica's rows of 96 | bytes a row, all told | µs to look 200 up |", "|---|---|---|")
    for name in figures:
        if name.startswith("replica_") and name.endswith("_bytes_per_row"):
            kind = name.split("_")[1]
            yield f"| {kind} | {figures[name]:.0f} | {figures[f'replica_{kind}_lookup_microseconds']:.1f} |"


def _files(figures: Figures) -> Iterator[str]:
    size = f"{figures['file_rows']:,} rows, {figures['file_bytes'] / 1e6:,.0f} MB"
    yield from (f"| file of {size} | seconds |", "|---|---|")
    yield f"| `save`, synced to disk | {figures['file_save_seconds']:.2f} |"
    yield f"| `load`, from the system's cache | {figures['file_load_seconds']:.2f} |"
    yield f"| `load(mapped=True)` | {figures['file_load_mapped_seconds']:.2f} |"


def plot_of(sizes: Mapping[str, Any]) -> bytes:
    """Nanoseconds a key over the number of rows, one panel an operation, as SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    measured = _measured(sizes)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 3.2), layout="constrained")
        for (name, title), axes in zip(_PANELS.items(), figure.subplots(1, len(_PANELS)), strict=True):
            for kind, label in _NAMES.items():
                points = [(rows, of[kind][name]) for rows, of in measured.items() if name in of[kind]]
                if points:
                    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_COLOURS[kind], label=label)
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_title(title)
            axes.set_xlabel("rows")
        first = figure.axes[0]
        first.set_ylabel("ns a key")
        handles = [axes.get_legend_handles_labels() for axes in figure.axes]
        known = {label: handle for pair in handles for handle, label in zip(*pair, strict=True)}
        figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=len(known), frameon=False)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def main(source: str, folder: str = "docs/results") -> None:
    figures = json.loads(Path(source).read_text(encoding="utf-8"))
    on, commit = machine(), _commit()
    page = partial(page_of, figures, on, commit)
    kept = {"command": COMMAND, "machine": on, "git_commit": commit, **figures}
    write_page(Path(folder), "table", page, kept, plot_of(figures["sizes"]))


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
