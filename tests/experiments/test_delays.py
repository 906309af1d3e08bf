"""The experiment on delays: its runs, what it counts of labels in time, and the page that it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.cli.commands.replay import Labels
from stream_reco.config import load
from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.events import Action, Event, Impression, decode
from stream_reco.experiments.delays import simulated_log
from stream_reco.experiments.delays.lead_times import LeadTimes, measure_leads
from stream_reco.experiments.delays.page import delays_page
from stream_reco.experiments.delays.plan import MORE_WORLDS, TALKINGDATA, WORLDS, DelayWorld
from stream_reco.experiments.delays.plot import delays_plot
from stream_reco.experiments.delays.results import DelayResults, delays_figures
from stream_reco.experiments.delays.simulated_log import simulated_log_of, true_probabilities
from stream_reco.experiments.delays.spread import Spread, compare_over_worlds
from stream_reco.experiments.runs.plan import Run, config_text
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.labels import LabelSettings
from stream_reco.labels.settings import DAY_MS
from tests.pages import Page

T = 1_700_000_000_000


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_log, "DAYS", 1)
    monkeypatch.setattr(simulated_log, "USERS", 10)
    monkeypatch.setattr(simulated_log, "ITEMS", 10)
    monkeypatch.setattr(simulated_log, "REQUESTS_PER_DAY", 100.0)


# --- what is run


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_runs_differ_in_policy_and_correction_alone(world: DelayWorld, tmp_path: Path) -> None:
    titles = [world.title_of(run) for run in world.runs]
    assert titles[0] == "oracle"
    assert len(set(titles)) == len(titles)
    assert len({run.slug for run in world.runs}) == len(titles)
    common = set(world.runs[0].settings)
    for run in world.runs:
        assert run.options[2] == "--labels"
        assert run.options[3] in set(Labels)
        assert common <= set(run.settings)
        assert all(
            line.split()[0] in ("training.correction", "labels.wait_seconds", "training.seed")
            for line in set(run.settings) - common
        )
        config = tmp_path / "run.toml"
        config.write_text(config_text(run))
        settings = load(config).settings
        assert settings.labels.window_days == world.window_days
        assert settings.training.batch == 32
        assert settings.training.correction in run.title or "immediate" not in run.title


def test_the_command_of_a_run_names_its_log(tmp_path: Path) -> None:
    (tmp_path / TALKINGDATA).write_bytes(b"x")
    world = WORLDS[1]
    store = ResultStore(tmp_path / "work", tmp_path / TALKINGDATA, world.size, world.log_format, world.shown_log)
    assert store.command(world.runs[1]) == (
        f"stream-reco replay $STREAM_RECO_DATA/{TALKINGDATA} --format talkingdata --warm-up 1000 --sync-interval 600"
        " --labels conclusive --config talkingdata-conclusive.toml"
    )
    store.arguments(world.runs[1])
    assert (store.folder / "talkingdata-conclusive.toml").read_text().startswith("labels.window_days = 0.6\n")


def test_the_simulated_log_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    path = simulated_log_of(WORLDS[0], tmp_path / "work")
    events = [decode(line) for line in path.read_bytes().splitlines()]
    assert len(true_probabilities(path)) == sum(isinstance(event, Impression) for event in events) > 100
    written = path.stat().st_mtime_ns
    assert simulated_log_of(WORLDS[0], tmp_path / "work").stat().st_mtime_ns == written
    assert simulated_log_of(WORLDS[0], tmp_path / "work", fresh=True).stat().st_mtime_ns > written
    again = simulated_log_of(WORLDS[0], tmp_path / "other")
    assert again.read_bytes() == path.read_bytes()
    assert simulated_log_of(MORE_WORLDS[0], tmp_path / "work").read_bytes() != path.read_bytes()


# --- labels in time


def shown(request: str, position: int, time: int) -> Impression:
    return Impression(
        user_id="u",
        item_id=f"{request}{position}",
        request_id=request,
        position=position,
        timestamp=T + time,
        event_id=f"{request}{position}",
    )


def click(request: str, position: int, time: int) -> Action:
    return Action(
        user_id="u",
        item_id=f"{request}{position}",
        action="click",
        request_id=request,
        timestamp=T + time,
        event_id=f"{request}{position}c",
    )


def test_leads_are_counted_as_by_hand() -> None:
    log: list[Event] = [
        shown("a", 1, 0),
        shown("a", 2, 0),
        shown("a", 3, 0),
        shown("a", 4, 0),
        shown("b", 1, 0),
        click("a", 3, DAY_MS),
        shown("y", 1, 2 * DAY_MS),
        click("a", 1, 3 * DAY_MS),
        shown("z", 1, 9 * DAY_MS),
    ]
    leads = measure_leads(Log("x", [ListedRows(log)], DeadLetters()), LabelSettings(window_days=4.0))
    # a2 is passed over after a day rather than four, a4, b1, y1 and z1 wait; a1 is passed over too, wrongly.
    assert (leads.negatives, leads.earlier, leads.inferred, leads.wrong, leads.later) == (5, 1, 2, 1, 0)
    assert (leads.earlier_median, leads.earlier_p90) == (3.0, 3.0)
    assert leads.median == 0.0
    assert leads.p90 == pytest.approx(np.percentile([3.0, 0.0, 0.0, 0.0, 0.0], 90))


def test_without_slates_nothing_is_sooner() -> None:
    log: list[Event] = [shown("a", 1, 0), shown("b", 1, 5), click("b", 1, 9)]
    leads = measure_leads(Log("x", [ListedRows(log)], DeadLetters()), LabelSettings(window_days=1.0))
    assert leads == LeadTimes(1, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0)


# --- what is written


def figures(auc: float, count: int = 100) -> dict[str, Any]:
    return {"count": count, "positives": 4, "auc": auc, "logloss": 1 - auc, "calibration": 2 - auc, "until": T}


def result_of(run: Run, place: int) -> Result:
    """A result with made-up figures, worse for each further run."""
    auc = 0.9 - place / 100
    tenths = [figures(auc, 10), *[figures(auc - number / 100, 10) for number in range(9)]]
    tenths[0] |= {"auc": None, "calibration": None}
    report: dict[str, Any] = {
        "impressions": {**figures(auc), "second_half": figures(auc), "tenths": tenths},
        "git_commit": "c" * 40,
        "git_changed": False,
        "evaluated": 4,
        "hr@10": 0.5,
        "ndcg@10": 0.4,
        "seconds": 3.0,
    }
    command = " ".join(["stream-reco replay x.jsonl --format events", *run.options])
    return Result(command, {"processor": "P"}, 1, report)


def made_up() -> list[DelayResults]:
    leads = LeadTimes(1000, 100, 0.0, 2.0, 13.5, 13.9, 110, 11, 0)
    found = []
    for world in WORLDS:
        results = {run: result_of(run, place) for place, run in enumerate(world.runs)}
        ceiling = results[world.runs[0]].report["impressions"] if world is WORLDS[0] else None
        none = LeadTimes(1000, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0)
        found.append(DelayResults(world, results, leads if ceiling else none, ceiling))
    return found


def more_made_up() -> list[DelayResults]:
    """Worlds in which each further one of the runs is worse by 1, 2, … times as much as in the first."""
    return [
        DelayResults(world, {run: result_of(run, place * (at + 2)) for place, run in enumerate(world.compared)})
        for at, world in enumerate(MORE_WORLDS)
    ]


def test_over_worlds_each_run_is_compared_with_its_own_oracle() -> None:
    first = DelayResults(WORLDS[0], {run: result_of(run, place) for place, run in enumerate(WORLDS[0].compared)})
    oracle, none, *_ = compare_over_worlds([first, *more_made_up()])
    assert (oracle.title, oracle.auc, oracle.relative) == ("oracle", Spread(0.0, 0.0), Spread(1.0, 0.0))
    assert none.title == "immediate none"
    changes = np.arange(1, len(MORE_WORLDS) + 2) / -100
    assert none.auc.mean == pytest.approx(changes.mean())
    assert none.auc.error == pytest.approx(changes.std(ddof=1) / np.sqrt(len(changes)))
    assert none.calibration.mean == pytest.approx((1.1 - changes).mean())
    assert none.relative.mean == pytest.approx((1.0 - changes / 1.1).mean())


def test_worlds_and_their_models_have_seeds_of_their_own(tmp_path: Path) -> None:
    for seed, world in enumerate((WORLDS[0], *MORE_WORLDS)):
        assert f"-{seed}.jsonl" in world.shown_log
        for run in world.compared:
            config = tmp_path / "run.toml"
            config.write_text(config_text(run))
            assert load(config).settings.training.seed == seed
            assert str(seed or "simulated") in run.slug
    assert len({run.slug for world in (*WORLDS, *MORE_WORLDS) for run in (*world.runs, *world.compared)}) == (
        len(WORLDS[0].runs) + len(WORLDS[1].runs) + sum(len(world.runs) for world in MORE_WORLDS)
    )


def test_the_page_compares_with_the_oracle_and_keeps_the_rules() -> None:
    page = Page("docs/results/labels.md", delays_page(made_up(), more_made_up(), None))
    rows = {row[0]: row[1:] for row in page.table("policy")}
    assert rows["oracle"][:5] == ["0.9000", "0.10000", "1.100", "0.9000", "+0.0000"]
    assert rows["conclusive"][4] == "−0.0100"
    assert rows["conclusive"][7] == f"{1.11 / 1.1:.3f}"
    assert rows["true"][0] == "0.9000"
    assert "100 of 1,000 negatives (10.0%) sooner" in page.text
    assert "11 of 110 inferred negatives (10.00%) were wrong" in page.text
    assert "50 % of all 4 and 50 % of the 4" in page.text
    assert page.text.count("| oracle |") == 5
    assert {row[0]: row[1:] for row in page.table("over worlds")}["oracle"][0] == "+0.0000 ± 0.0000"
    for rule in rules.OF_EVERY_PAGE:
        rule(page)


def test_the_plot_and_the_figures_are_the_same_bytes_each_time() -> None:
    picture = delays_plot(made_up())
    assert picture is not None
    assert picture == delays_plot(made_up())
    assert "immediate undo" in picture.decode()
    told = json.loads(json.dumps(delays_figures(made_up())))
    assert told["worlds"]["simulated"]["runs"]["conclusive"]["impressions"]["auc"] == 0.89
    assert told["worlds"]["simulated"]["leads"]["wrong"] == 11
    assert told["worlds"]["talkingdata"]["ceiling"] is None


def test_without_matplotlib_there_is_a_page_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert delays_plot(made_up()) is None


def test_a_log_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAM_RECO_DATA", raising=False)
    for more, status, complaint in ((("--data", str(tmp_path)), 1, TALKINGDATA), ((), 2, "talkingdata")):
        monkeypatch.setattr(
            sys, "argv", ["stream-reco", "reproduce", "delays", "--out", str(tmp_path), "--work", str(tmp_path), *more]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == status
        assert complaint in capsys.readouterr().err
