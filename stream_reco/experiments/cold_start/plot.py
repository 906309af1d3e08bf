"""HR@10 and AUC by how much was known of the user and of the item; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stream_reco.experiments.cold_start.plan import NARROWER, POPULAR, WALKS, WITH, WITHOUT, ColdStartLog
from stream_reco.experiments.cold_start.results import RANKINGS, SIDES, ColdStartResults, buckets_of
from stream_reco.experiments.pages.plot import STYLE

_COLOURS = {WITH: "#c0392b", NARROWER: "#d1681c", WITHOUT: "#1f77b4", POPULAR: "0.6"}


def cold_start_plot(found: ColdStartResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.2 * len(WALKS)), layout="constrained")
        panels = figure.subplots(len(WALKS), 4)
        for source, row in zip(WALKS, panels, strict=True):
            pairs = [(side, name) for side in SIDES for name in ("hr@10", "auc")]
            for (side, name), axes in zip(pairs, row, strict=True):
                _lines(axes, found, source, (side, name))
            row[0].set_ylabel(source.name)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _lines(axes: Any, found: ColdStartResults, source: ColdStartLog, what: tuple[str, str]) -> None:
    side, name = what
    buckets = buckets_of(side)
    for ranking in RANKINGS:
        cells = [found.cell(source, side, bucket, ranking) for bucket in buckets]
        values = [float("nan") if one is None else one[name] for one in cells]
        axes.plot(range(len(buckets)), values, marker="o", color=_COLOURS[ranking], label=ranking)
    axes.set_xticks(range(len(buckets)), buckets)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{'HR@10' if name == 'hr@10' else 'AUC'}, n-th of the {side}")
