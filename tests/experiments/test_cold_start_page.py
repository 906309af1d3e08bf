"""The page on cold starts from figures made by hand, and the policies on a log whose better item is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.experiments.cold_start.off_policy import SHARES, OffPolicyRun, title
from stream_reco.experiments.cold_start.page import cold_start_page
from stream_reco.experiments.cold_start.plan import BANDIT, COLD_START_LOGS, NARROWER, WALKS, WITH, WITHOUT
from stream_reco.experiments.cold_start.results import ColdStartResults, cold_start_figures
from stream_reco.experiments.runs.result_store import Result

T = 1_600_000_000_000
_POLICY = {"click_through": 0.004, "low": 0.001, "high": 0.007, "count": 100, "effective_samples": 12.3}


def report(level: float) -> dict[str, Any]:
    quality = {"hr@10": level, "ndcg@10": level / 2, "auc": level + 0.1}
    entry = {"events": 1234, "evaluated": 99, "engine": quality, "popularity": {**quality, "hr@10": 0.05}}
    return {
        "events": 5000,
        "evaluated": 99,
        "first_events": {"all": {"all": entry}, "user": {"1": entry, "later": entry}, "item": {"2–3": entry}},
        "policies": {"logged: random": _POLICY, title(0.0): _POLICY},
        "ingest_per_second": 100.0,
        "score_ms": 10.0,
        "git_commit": "0" * 40,
        "git_changed": False,
    }


def found() -> ColdStartResults:
    levels = {WITH: 0.3, NARROWER: 0.4, WITHOUT: 0.2}
    return ColdStartResults(
        {
            source: {
                source.run(name): Result("command", {"cpu": "x"}, 1, report(levels[name])) for name in source.titles
            }
            for source in COLD_START_LOGS
        }
    )


def test_each_figure_is_of_its_run_and_the_best_is_bold() -> None:
    page = cold_start_page(found(), "cold_start.svg")
    row = next(line for line in page.splitlines() if line.startswith("| user: 1 |"))
    assert row == (
        "| user: 1 | 1,234 | 0.3000 | **0.4000** | 0.2000 | 0.0500 | 0.4000 | **0.5000** | 0.3000 | 0.4000 |"
    )
    empty = next(line for line in page.splitlines() if line.startswith("| user: 2–3 |"))
    assert empty.count("–") == 9
    assert page.count("| user: 1 |") == len(WALKS)
    assert f"| {title(0.0)}, {WITHOUT} | 100 | 12 | 0.0040 ± 0.0030 |" in page
    assert "![" in page
    assert "![" not in cold_start_page(found(), None)


def test_all_figures_are_written() -> None:
    figures = json.loads(json.dumps(cold_start_figures(found())))
    assert set(figures["logs"]) == {source.name for source in COLD_START_LOGS}
    assert figures["logs"]["films"][NARROWER]["first_events"]["all"]["all"]["engine"]["hr@10"] == 0.4
    assert "model.content.own = 0.0" in figures["logs"][BANDIT.name][WITHOUT]["settings"]


def bandit_log(rows: int) -> Log:
    """Two items, each shown half of the time; the first is clicked whenever it is shown."""
    rng = np.random.default_rng(0)
    events: list[Event] = [
        ItemEvent(item_id=f"men-{number}", timestamp=T, features={"colour": colour})
        for number, colour in enumerate(("red", "blue"))
    ]
    for row in range(rows):
        number, policy = int(rng.integers(2)), "bts" if row % 4 == 3 else "random"
        common: dict[str, Any] = {
            "user_id": f"u{row % 5}",
            "item_id": f"men-{number}",
            "timestamp": T + 60_000 * (row + 1),
            "request_id": f"r{row}",
            "context": {"policy": policy},
        }
        events.append(Impression(event_id=f"i{row}", position=1, propensity=0.5, **common))
        if number == 0:
            events.append(Action(event_id=f"c{row}", action="click", **common))
    return Log("log", [ListedRows(events)], DeadLetters())


def test_greedy_earns_what_the_better_item_earns() -> None:
    with Engine(None) as engine:
        figures = OffPolicyRun(engine).run(bandit_log(400))
    policies = figures["policies"]
    assert set(policies) == {"logged: bts", "logged: random", *(title(share) for share in SHARES)}
    assert policies[title(0.0)]["click_through"] == 1.0
    assert 0.3 < policies["logged: random"]["click_through"] < 0.7
    assert figures["evaluated"] == figures["learned"]["impressions"] == 150
