"""Click-through over time in the closed-loop worlds; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO

from stream_reco.experiments.pages.plot import STYLE
from stream_reco.experiments.shop.page import world_rows
from stream_reco.experiments.shop.plan import OURS
from stream_reco.experiments.shop.results import ShopResults
from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS

_COLOURS = {
    "random": "0.6",
    "popular": "#1f77b4",
    "neighbours": "#17a2b8",
    "thompson": "#8e5ea2",
    OURS: "#c0392b",
    "linucb": "#2e8b57",
    "ridge": "#d1681c",
    "oracle": "0.2",
}


def shop_plot(found: ShopResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        panels = figure.subplots(1, len(WORLD_PLANS))
        for world, axes in zip(WORLD_PLANS, panels, strict=True):
            for row in world_rows(world):
                values = [float("nan") if one is None else one for one in found.tenths(row, "click_through")]
                width = 2.5 if row.arm == OURS else 1.3
                axes.plot(range(1, len(values) + 1), values, color=_COLOURS[row.arm], linewidth=width, label=row.title)
            axes.set_ylim(bottom=0)
            axes.set_title(world)
            axes.set_xlabel("tenth of the requests")
        panels[0].set_ylabel("click-through")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()
