"""The figures of the experiment on collisions over time; the same figures give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from stream_reco.cli.collisions_page import Shelves
from stream_reco.cli.reproduce_page import Found
from stream_reco.cli.reproduce_plan import Run
from stream_reco.cli.reproduce_plot import STYLE

_METRICS = {"auc": "AUC", "logloss": "logloss"}
_COLOURS = ("#9ecae1", "#4f97c7", "#7f6bb3", "#d1681c", "#a50f15")
"""From the largest hashed tables to the smallest."""


def plot_of(found: Shelves) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 3.4 * len(found)), layout="constrained")
        for (shelf, one), panels in zip(found.items(), figure.subplots(len(found), 4, squeeze=False), strict=True):
            for at, (name, label) in enumerate(_METRICS.items()):
                _draw(panels[2 * at], one, name)
                panels[2 * at].set_title(label)
                _draw(panels[2 * at + 1], one, name, minus_full=True)
                panels[2 * at + 1].set_title(f"{label} minus that without collisions")
            panels[0].set_ylabel(shelf.heading)
            handles, labels = panels[0].get_legend_handles_labels()
            panels[-1].legend(handles, labels, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _draw(axes: Any, found: Found, name: str, *, minus_full: bool = False) -> None:
    experiment = found.experiment
    reference = _values(found, experiment.full, name) if minus_full else None
    seeds = [_drawn(_values(found, run, name), reference) for run in (experiment.full, *experiment.seeds)]
    shares = [100 * (number + 1) / len(seeds[0]) for number in range(len(seeds[0]))]
    axes.fill_between(shares, [min(all_) for all_ in zip(*seeds, strict=True)],
                      [max(all_) for all_ in zip(*seeds, strict=True)], color="0.85", label="other seeds")  # fmt: skip
    for run, colour in zip(experiment.runs, ("0.2", *_COLOURS), strict=False):
        axes.plot(shares, _drawn(_values(found, run, name), reference), color=colour, label=run.title)
    report = found.results[experiment.full].report
    axes.axvline(100 * report["warm_up"] / max(1, report["events"]), color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xlabel("% of the events")


def _values(found: Found, run: Run, name: str) -> list[float]:
    values = [window[name] for window in found.results[run].report["windows"]]
    return [float("nan") if value is None else float(value) for value in values]


def _drawn(values: Sequence[float], reference: Sequence[float] | None) -> list[float]:
    if reference is None:
        return list(values)
    return [value - other for value, other in zip(values, reference, strict=True)]
