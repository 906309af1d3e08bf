"""Loss and AUC by how much evidence there was; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stream_reco.experiments.handover.parts_page import part_cells
from stream_reco.experiments.handover.plan import ARMS, BOTH, CONTENT, IDS, PARTS, WORLD
from stream_reco.experiments.handover.results import SIDES, SOURCES, HandoverResults
from stream_reco.experiments.pages.plot import STYLE

_BARS = ("#1f77b4", "#d1681c")
_COLOURS = {BOTH: "#c0392b", CONTENT: "#d1681c", IDS: "#1f77b4"}


def handover_plot(found: HandoverResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.2 * len(SOURCES)), layout="constrained")
        panels = figure.subplots(len(SOURCES), 4)
        for source, row in zip(SOURCES, panels, strict=True):
            for (side, name), axes in zip(
                [(side, name) for side in SIDES for name in ("loss", "auc")], row, strict=True
            ):
                _lines(axes, found, source, (side, name))
            row[0].set_ylabel(source)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(ARMS))
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def parts_plot(found: HandoverResults) -> bytes | None:
    """What each part is worth, as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.0), layout="constrained")
        panels = figure.subplots(1, len(SOURCES), sharey=True)
        for source, axes in zip(SOURCES, panels, strict=True):
            _bars(axes, found, source)
        panels[0].set_yticks(range(len(PARTS)), list(PARTS))
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _bars(axes: Any, found: HandoverResults, source: str) -> None:
    """What each part is worth in AUC, of all candidates and of new items."""
    for place, (where, cell) in enumerate(part_cells(found, source)):
        worth = [cell.comparisons["auc"][part] for part in PARTS]
        at = [number - 0.2 + 0.4 * place for number in range(len(PARTS))]
        halves = [one.half or 0.0 for one in worth]
        axes.barh(at, [one.by for one in worth], 0.36, xerr=halves, color=_BARS[place], ecolor="0.4", label=where)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_title(f"AUC with the part above that without, {source}", fontsize=10)


def _lines(axes: Any, found: HandoverResults, source: str, what: tuple[str, str]) -> None:
    side, name = what
    cells = list(found.cells(source, side))
    for arm in ARMS:
        values = [cell.means[name][arm] for _, cell in cells]
        axes.plot(range(len(cells)), values, marker="o", markersize=4, color=_COLOURS[arm], label=arm)
    axes.set_xticks(range(len(cells)), [bucket.replace(" and more", "+") for bucket, _ in cells], fontsize=8)
    unit = {"item": "impressions", "user": "requests"}[side] if source == WORLD else "likes"
    axes.set_title(f"{'loss' if name == 'loss' else 'AUC'}, {unit} of the {side}", fontsize=10)
