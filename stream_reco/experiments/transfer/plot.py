"""What a transfer adds to the first slates; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO
from statistics import fmean
from typing import Any

from stream_reco.experiments.pages.plot import STYLE
from stream_reco.experiments.transfer.page import LABELS
from stream_reco.experiments.transfer.plan import EMPTY, NEWCOMERS, POPULAR, TRANSFERRED, ZERO_SHOT
from stream_reco.experiments.transfer.results import SOURCES, TransferResults, arms_of_source, measures_of

_COLOURS = {EMPTY: "#1f77b4", TRANSFERRED: "#c0392b", POPULAR: "0.6"}
_SHORT = {ZERO_SHOT: "before\nany event", NEWCOMERS: "first\nof each"}


def transfer_plot(found: TransferResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    panels = [(source, measure) for source in SOURCES for measure in measures_of(source) if found.rows(source)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(panels), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for (source, measure), one in zip(panels, axes, strict=True):
            _bars(one, found, source, measure)
        handles, labels = axes[-1].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _bars(axes: Any, found: TransferResults, source: str, measure: str) -> None:
    """Means over seeds as bars, each seed as a point."""
    rows, arms = found.rows(source), arms_of_source(source)
    width = 0.8 / len(arms)
    for place, arm in enumerate(arms):
        values = [found.values(source, row, arm, measure) for row in rows]
        at = [number + (place - (len(arms) - 1) / 2) * width for number in range(len(rows))]
        axes.bar(at, [fmean(one) for one in values], 0.92 * width, color=_COLOURS[arm], label=arm)
        points = [(x, y) for x, seeds in zip(at, values, strict=True) for y in seeds]
        axes.plot(*zip(*points, strict=True), linestyle="", marker="o", markersize=2.5, color="0.2")
    axes.set_xticks(range(len(rows)), [_SHORT.get(row, row.split()[1]) for row in rows], fontsize=7)
    axes.set_title(f"{source}, {LABELS[measure]}", fontsize=10)
