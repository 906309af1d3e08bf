"""The figures of the experiment on collisions over time; the same figures give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from stream_reco.experiments.collisions.page import CollisionResults
from stream_reco.experiments.collisions.plan import WINDOWS
from stream_reco.experiments.pages.plot import STYLE
from stream_reco.experiments.pages.tables import ExperimentResults
from stream_reco.experiments.runs.plan import Run

_METRICS = {"auc": "AUC", "logloss": "logloss"}
_FULL = "0.2"
_COLOURS = {"2¹⁶": "#9ecae1", "2¹⁴": "#4f97c7", "2¹²": "#2e8b57", "2¹⁰": "#7f6bb3", "2⁸": "#d1681c", "2⁶": "#a50f15"}
"""By the title of a hashed table, so that one size has one colour in both logs."""
LEFT_OUT = 3
"""Windows at the beginning that are not drawn: before much is learned logloss is so high that the rest is flat."""


def collisions_plot(found: CollisionResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 3.4 * len(found)), layout="constrained")
        for (source, one), panels in zip(found.items(), figure.subplots(len(found), 4, squeeze=False), strict=True):
            for at, (name, label) in enumerate(_METRICS.items()):
                _draw(panels[2 * at], one, name)
                panels[2 * at].set_title(label)
                _draw(panels[2 * at + 1], one, name, minus_full=True)
                panels[2 * at + 1].set_title(f"{label}, minus the collisionless")
            panels[0].set_ylabel(source.heading)
            handles, labels = panels[0].get_legend_handles_labels()
            panels[-1].legend(handles, labels, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _draw(axes: Any, found: ExperimentResults, name: str, *, minus_full: bool = False) -> None:
    experiment = found.experiment
    reference = _values(found, experiment.full, name) if minus_full else None
    seeds = [_drawn(_values(found, run, name), reference) for run in (experiment.full, *experiment.seeds)]
    shares = [100 * (number + 1) / WINDOWS for number in range(LEFT_OUT, WINDOWS)]
    least, most = zip(*((min(one), max(one)) for one in zip(*seeds, strict=True)), strict=True)
    axes.fill_between(shares, least, most, color="0.85", label="collisionless, other seeds")
    for run in experiment.runs:
        values = _drawn(_values(found, run, name), reference)
        axes.plot(shares, values, color=_COLOURS.get(run.title, _FULL), label=run.title)
    report = found.results[experiment.full].report
    axes.axvline(100 * report["warm_up"] / max(1, report["events"]), color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xlabel("% of the events")


def _values(found: ExperimentResults, run: Run, name: str) -> list[float]:
    values = [window[name] for window in found.results[run].report["windows"][LEFT_OUT:]]
    return [float("nan") if value is None else float(value) for value in values]


def _drawn(values: Sequence[float], reference: Sequence[float] | None) -> list[float]:
    if reference is None:
        return list(values)
    return [value - other for value, other in zip(values, reference, strict=True)]
