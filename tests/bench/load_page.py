"""The page docs/results/load.md, its figures and its plot, from what `bench_load` wrote of two checkouts.

`python -m tests.bench.load_page AFTER BEFORE COMMIT_BEFORE [FOLDER]`
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
_COLOURS = {"after": "#1f77b4", "before": "#d1681c"}
_MADE = (
    "Made from what `python -m tests.bench.bench_load after.json`, and the same with `before.json` and an older"
    " checkout's folder, wrote, by `python -m tests.bench.load_page after.json before.json COMMIT`."
)
_INTRO = """\
Requests for slates come at random moments (a Poisson process), whether or not those before were answered; every other
one opens a connection of its own, the others keep theirs. A client leaves when its timeout ends. Counted are slates
that came within one second of the moment at which the request was due: goodput. Saturation is what eight clients get
that wait for each answer before they ask again, of the same server a moment before."""
_READING = """\
- The crowd runs in a process of its own on the cores that the server has too. At four times saturation it takes a part
  of them that the server lacks, and what refusals cost comes on top of it.
- Recovery: the rate falls from three times saturation to a half; seconds from then until nine of ten requests of each
  quarter of a second are answered in time.
- Before, a server answered requests in the order in which they came, however old."""


def page_of(
    after: Figures, before: Figures, on: Mapping[str, str], commits: tuple[str, str], picture: str | None
) -> str:
    """The page in Markdown; `commits`: after, before; `picture` is the name of the plot beside it, if there is one."""
    lines = [
        "# Overload, measured",
        "",
        _MADE,
        "",
        _INTRO,
        "",
        *([f"![Answers in time over requests offered]({picture})", ""] if picture else []),
        "## What was to be reached",
        "",
        *_goals(after, before),
        "",
    ]
    for timeout in after["timeout_seconds"]:
        lines += [f"## Clients that leave after {timeout} s", "", *_rates(after, before, timeout), ""]
    lines += ["## How to read this", "", _READING, "", "## Machine", ""]
    lines += ["- " + ", ".join(f"{name} {value}" for name, value in on.items())]
    lines += [f"- commit {commits[0]}; before: commit {commits[1]}", ""]
    return "\n".join(lines)


def _goals(after: Figures, before: Figures) -> Iterator[str]:
    yield from ("| what | before | after | aim |", "|---|---|---|---|")
    for timeout, curve in after["timeout_seconds"].items():
        old = before["timeout_seconds"][timeout]
        for text, name, sign, goal in (
            ("goodput at three times saturation, over the peak", "goodput_over_peak_at_3", "≥", 0.9),
            ("seconds until it has recovered", "recovery_seconds", "≤", 1.0),
        ):
            value = curve[name]
            missed = "" if (value >= goal if sign == "≥" else value <= goal) else " (missed)"
            cells = f"{old[name]:.2f} | {value:.2f}{missed} | {sign} {goal:g}"
            yield f"| {text}, timeout {timeout} s | {cells} |"
    alone, then = after["one_client"]["p50_ms"], before["one_client"]["p50_ms"]
    yield f"| one client that waits for each answer: p50, ms | {then:.2f} | {alone:.2f} | |"
    yield (
        "| saturation, slates a second | "
        f"{before['saturation_per_second']:.0f} | {after['saturation_per_second']:.0f} | |"
    )


def _rates(after: Figures, before: Figures, timeout: str) -> Iterator[str]:
    yield (
        "| of saturation | offered a second | in time a second | refused a second | gave up a second"
        " | p50 of slates, ms | before: offered | in time | gave up | p50, ms |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for times, one in after["timeout_seconds"][timeout]["offered"].items():
        old = before["timeout_seconds"][timeout]["offered"][times]
        ours = [one[name] for name in ("per_second", "goodput", "refused", "gave_up", "p50_ms")]
        theirs = [old[name] for name in ("per_second", "goodput", "gave_up", "p50_ms")]
        yield f"| {times} | " + " | ".join(f"{value:.0f}" for value in [*ours, *theirs]) + " |"


def plot_of(after: Figures, before: Figures) -> bytes:
    """Answers in time over requests offered, both a second, one panel a timeout, as SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    timeouts = list(after["timeout_seconds"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.5 * len(timeouts), 3.4), layout="constrained")
        panels = figure.subplots(1, len(timeouts), sharey=True, squeeze=False)[0]
        for timeout, axes in zip(timeouts, panels, strict=True):
            for name, figures in (("before", before), ("after", after)):
                points = figures["timeout_seconds"][timeout]["offered"].values()
                offered, good = [one["per_second"] for one in points], [one["goodput"] for one in points]
                axes.plot(offered, good, marker="o", markersize=4, color=_COLOURS[name], label=name)
                axes.axvline(figures["saturation_per_second"], color=_COLOURS[name], linewidth=0.8, linestyle=":")
            axes.set_title(f"clients leave after {timeout} s")
            axes.set_xlabel("requests offered a second (dotted: saturation)")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("slates within 1 s, a second")
        panels[-1].legend(frameon=False)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def main(after_file: str, before_file: str, before_commit: str, folder: str = "docs/results") -> None:
    after, before = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (after_file, before_file))
    told = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    on, commits = machine(), (told.stdout.strip(), before_commit)
    kept = {
        "machine": on,
        "git_commit": commits[0],
        "git_commit_before": before_commit,
        "after": after,
        "before": before,
    }
    page = partial(page_of, after, before, on, commits)
    write_page(Path(folder), "load", page, kept, plot_of(after, before))


if __name__ == "__main__":
    main(*sys.argv[1:])
