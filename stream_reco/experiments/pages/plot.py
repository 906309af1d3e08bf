"""The plot of an experiment; the same figures give the same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stream_reco.experiments.pages.tables import COMPARED, ExperimentResults

_COLOURS = dict(zip(COMPARED, ("#1f77b4", "#d1681c"), strict=True))
_NAMES = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}
# Text stays text, and ids in the file do not depend on chance.
STYLE = {"svg.hashsalt": "stream-reco", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}


def experiment_plot(found: ExperimentResults) -> bytes | None:
    """The picture as SVG; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained")
        (_plot_sync if found.experiment.name == "sync" else _plot_ablations)(figure, found)
        picture = BytesIO()
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _plot_sync(figure: Any, found: ExperimentResults) -> None:
    figure.set_size_inches(7, 3.2)
    runs = found.experiment.runs
    for name, axes in zip(COMPARED, figure.subplots(1, 2), strict=True):
        values = [found.figure(run, name) for run in runs]
        axes.axhspan(*found.noise(name), color="0.85", label="full loop, other seeds")
        axes.plot(range(len(runs)), values, marker="o", color=_COLOURS[name])
        for place, value in enumerate(values):
            axes.annotate(f"{value:.3f}", (place, value), (0, 6), textcoords="offset points", ha="center")
        axes.set_xticks(range(len(runs)), [run.options[-1] for run in runs])
        axes.margins(x=0.1, y=0.2)
        axes.set_xlabel("seconds of event time between syncs")
        axes.set_title(_NAMES[name])
    axes.legend(frameon=False, loc="lower left")


def _plot_ablations(figure: Any, found: ExperimentResults) -> None:
    runs = [run for run in found.experiment.runs if run != found.experiment.full]
    runs.sort(key=lambda run: (run.group, -found.difference(run, "ndcg@10")))
    figure.set_size_inches(9, 1.2 + 0.26 * len(runs))
    panels = figure.subplots(1, 2, sharey=True)
    for name, axes in zip(COMPARED, panels, strict=True):
        least, most = (value - found.figure(found.experiment.full, name) for value in found.noise(name))
        axes.axvspan(least, most, color="0.85", label="full loop, other seeds")
        axes.barh(range(len(runs)), [found.difference(run, name) for run in runs], color=_COLOURS[name])
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(f"change of {_NAMES[name]}")
    panels[0].set_yticks(range(len(runs)), [run.title for run in runs])
    panels[0].legend(frameon=False, loc="lower left")
