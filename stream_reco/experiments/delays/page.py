"""The page on delays: what each policy of labels costs and brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stream_reco.experiments.delays.results import HALF, TENTHS, DelayResults
from stream_reco.experiments.delays.spread import rows_of
from stream_reco.experiments.runs.plan import config_name, config_text

_INTRO = (
    "The same events, replayed under each policy of labels, against an oracle that learns the final label of every"
    " impression as it is shown. The figures are those of the predictions that were served as each impression was"
    " shown, before anybody could respond, against the label that it ended with; so they are of the same impressions"
    " and labels in every row. Calibration is Σ predicted / Σ observed: 1 is right, above it too high."
)
_ABOUT = {
    "simulated": (
        "People click what they are shown after a delay that is log-normal: half within an hour, one in ten within two"
        " and a half minutes, one in ten after a day, one in a hundred after two weeks, none after 20 days. Tastes"
        " drift and"
        " items live for two months. The window is the default one of 14 days; clicks after it reverse the negative."
        " All clicks come before the log ends. `true` is the probability by which the world draws the click, which"
        " knows tastes, position and what was clicked before: no model can do better."
    ),
    "talkingdata": (
        "Ad clicks are what is shown, installs the response. The log spans three and a half days, so a window of 14"
        " days would never pass: it is 14.4 hours for all policies, longer than any install took (12.9 hours). Each ad"
        " click is a request of its own, so there is nothing that a later response could tell about, and `early` has"
        " the labels of `conclusive`. There are few installs: one standard error of Σ observed is"
    ),
}


def page_of(found: list[DelayResults], more: list[DelayResults], plot: str | None) -> str:
    """The page in Markdown; `plot` is the name of the picture beside it, if there is one.

    `more` are other worlds like the first.
    """
    lines = [
        "# What late labels cost",
        "",
        "Made by `stream-reco reproduce delays`, which writes this page anew.",
        "",
        _INTRO,
        "",
        *_reading(),
        "",
    ]
    for one in found:
        lines += [f"## {one.world.heading}", "", _about(one), "", *_table(one), *_over_time(one), *_leads(one)]
        if one is found[0]:
            lines += _over_worlds([one, *more])
        if plot and one is found[0]:
            lines += [f"![AUC, log loss and calibration over time, by policy]({plot})", ""]
    return "\n".join([*lines, *_machines([*found, *more]), *_commands([*found, *more]), ""])


def _reading() -> Iterator[str]:
    yield (
        "`immediate` presumes a negative as soon as the lateness of a minute is over, or an hour after that (`1 h`);"
        " `none`, `undo`, `fnw` and `es-dfm` are the setting `training.correction`. Second half: of the impressions,"
        " after learning has settled. Δ is the difference to the oracle; `oracle other seed` has another seed of the"
        " initial weights and nothing else, so differences that are no larger than its own are chance."
    )


def _about(found: DelayResults) -> str:
    about = _ABOUT[found.world.name]
    if found.world.name == "talkingdata":
        positives = [found.figures(found.oracle, part)["positives"] for part in ("all", HALF)]
        whole, half = (f"{100 / max(1, count) ** 0.5:.0f} %" for count in positives)
        about += f" {whole} of all {positives[0]} and {half} of the {positives[1]} in the second half, in every row."
    return about


def _table(found: DelayResults) -> Iterator[str]:
    heads = [
        "policy",
        "AUC",
        "logloss",
        "calibration",
        "AUC, 2nd half",
        "Δ",
        "logloss, 2nd half",
        "calibration, 2nd half",
        "to the oracle's",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---|" * (len(heads) - 1)
    for run in found.world.runs:
        whole, half = found.figures(run), found.figures(run, HALF)
        cells = [
            *_figures(whole),
            f"{half['auc']:.4f}",
            signed(found.change(run, "auc", HALF)),
            *_figures(half)[1:],
            f"{found.relative_calibration(run, HALF):.3f}",
        ]
        yield f"| {found.world.title_of(run)} | {' | '.join(cells)} |"
    if found.ceiling is not None:
        whole, half = found.ceiling, found.ceiling[HALF]
        cells = [
            *_figures(whole),
            f"{half['auc']:.4f}",
            signed(half["auc"] - found.figures(found.oracle, HALF)["auc"]),
            *_figures(half)[1:],
            "",
        ]
        yield f"| true | {' | '.join(cells)} |"
    yield ""


def _over_worlds(worlds: list[DelayResults]) -> Iterator[str]:
    yield (
        f"Two runs on one world differ by chance as much as corrections do, so these were run on {len(worlds)} worlds,"
        " each with another seed of the world and of the model. Second half of each log; means over worlds ± their"
        " standard errors, against the oracle of the same world and seed:"
    )
    yield from ("", "| over worlds | Δ AUC | calibration | to the oracle's |", "|---|---|---|---|")
    for row in rows_of(worlds):
        cells = [
            f"{signed(row.auc.mean)} ± {row.auc.error:.4f}",
            *(f"{one.mean:.3f} ± {one.error:.3f}" for one in (row.calibration, row.relative)),
        ]
        yield f"| {row.title} | {' | '.join(cells)} |"
    yield ""


def _figures(figures: Mapping[str, Any]) -> list[str]:
    return [_cell(figures[name], form) for name, form in (("auc", ".4f"), ("logloss", ".5f"), ("calibration", ".3f"))]


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def signed(value: float) -> str:
    """A difference with its sign, as typography has it."""
    return f"{value:+.4f}".replace("-", "−")


def _over_time(found: DelayResults) -> Iterator[str]:
    yield "Calibration in each tenth of the impressions:"
    yield ""
    yield f"| tenth | {' | '.join(str(number) for number in range(1, 11))} |"
    yield "|---|" + "---|" * 10
    for run in found.world.runs:
        cells = [_cell(part["calibration"], ".2f") for part in found.figures(run, TENTHS)]
        yield f"| {found.world.title_of(run)} | {' | '.join(cells)} |"
    yield ""


def _leads(found: DelayResults) -> Iterator[str]:
    leads = found.leads
    if leads is None or not leads.inferred:
        return
    share, rate = leads.earlier / leads.negatives, leads.wrong / leads.inferred
    yield (
        f"`early` gave {leads.earlier:,} of {leads.negatives:,} negatives ({share:.1%}) sooner than `conclusive`: those"
        f" in a slate with a response below them. These came {leads.earlier_median:.1f} days sooner in the median and"
        f" {leads.earlier_p90:.1f} days at the 90th percentile; over all negatives that is {leads.median:.1f} and"
        f" {leads.p90:.1f} days. {leads.wrong:,} of {leads.inferred:,} inferred negatives ({rate:.2%}) were wrong, and"
        f" reversed when the action came. First labels that came later than under `conclusive`: {leads.later}."
    )
    yield ""


def _machines(found: list[DelayResults]) -> Iterator[str]:
    yield from ("## Machine", "")
    results = [result for one in found for result in one.results.values()]
    for machine in dict.fromkeys(tuple(result.machine.items()) for result in results):
        yield "- " + ", ".join(f"{name} {value}" for name, value in machine)
    commits = sorted({str(result.report["git_commit"])[:10] for result in results})
    yield f"- commit {', '.join(commits)}"
    yield ""


def _commands(found: list[DelayResults]) -> Iterator[str]:
    yield from ("## Commands", "")
    for one in found:
        for run, result in one.results.items():
            lines = ", ".join(f"`{line}`" for line in config_text(run).splitlines())
            yield f"- `{result.command}`; `{config_name(run)}` holds {lines}"
