"""The figures of the experiment on delays over time; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stream_reco.experiments.delays.results import TENTHS, DelayResults
from stream_reco.experiments.pages.plot import STYLE

_METRICS = {
    "auc": "AUC",
    "logloss": "log loss, minus the oracle's, at most 0.02",
    "calibration": "Σ predicted / Σ observed, at most 4",
}
_COLOURS = {
    "oracle": "0.2",
    "conclusive": "#1f77b4",
    "early": "#17a2b8",
    "auto": "#7f7f00",
    "immediate none": "#c0392b",
    "immediate undo": "#2e8b57",
    "immediate fnw": "#d1681c",
    "immediate es-dfm after 1 h": "#8e5ea2",
}
"""Of the runs that are drawn; more lines would be unreadable."""
_MOST = {"calibration": 4.0, "logloss": 0.02}
"""Values are clipped here: without negatives they are unbounded, and all other lines would look flat."""


def delays_plot(found: list[DelayResults]) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.0 + 3.0 * len(found)), layout="constrained")
        rows = figure.subplots(len(found), len(_METRICS), squeeze=False)
        for one, panels in zip(found, rows, strict=True):
            for name, axes in zip(_METRICS, panels, strict=True):
                _draw(axes, one, name)
            panels[0].set_ylabel(one.world.heading)
        handles, labels = rows[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _draw(axes: Any, found: DelayResults, name: str) -> None:
    oracle = [part[name] for part in found.figures(found.oracle, TENTHS)]
    for run in found.world.runs:
        title = found.world.title_of(run)
        if title not in _COLOURS:
            continue
        values = [part[name] for part in found.figures(run, TENTHS)]
        if name == "logloss":
            values = [value - other for value, other in zip(values, oracle, strict=True)]
        if name in _MOST:
            values = [None if value is None else min(value, _MOST[name]) for value in values]
        tenths = [number + 1 for number, value in enumerate(values) if value is not None]
        axes.plot(tenths, [value for value in values if value is not None], color=_COLOURS[title], label=title)
    if name == "calibration":
        axes.axhspan(0.95, 1.05, color="0.9")
    axes.set_title(_METRICS[name])
    axes.set_xlabel("tenth of the impressions")
