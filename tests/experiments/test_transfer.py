"""A second shop as an experiment: its slates, its ratings, the paired differences, the page that is written."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, ItemEvent, UserEvent
from stream_reco.experiments.runs.plan import Run
from stream_reco.experiments.runs.result_store import Result
from stream_reco.experiments.shop.arms import make_arm
from stream_reco.experiments.shop.closed_loop import SLATE, ClosedLoop
from stream_reco.experiments.shop.engine_arm import EngineArm
from stream_reco.experiments.transfer import second_films, second_world
from stream_reco.experiments.transfer.page import transfer_page
from stream_reco.experiments.transfer.plan import (
    AUC,
    EMPTY,
    FILM_ROWS,
    FILMS_GROUP,
    HITS,
    NEWCOMERS,
    POPULAR,
    SHARE,
    TRANSFERRED,
    WORLD_ROWS,
    ZERO_SHOT,
    row_of,
    transfer_runs,
    transfer_stores,
)
from stream_reco.experiments.transfer.plot import transfer_plot
from stream_reco.experiments.transfer.results import TransferResults, paired_difference, transfer_figures
from stream_reco.experiments.transfer.second_films import RatingsWalk, TwoCatalogues, halves
from stream_reco.experiments.transfer.second_world import JudgedArm, JudgedSlate, TwoWorlds, row_figures
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import SHOP, WORLD_PLANS
from stream_reco.terminal.log_options import Format
from stream_reco.terminal.settings import loop_settings, settings_of
from tests.pages import Page

T = 1_700_000_000_000
SETTINGS = settings_of(None).settings
FILM_SETTINGS = loop_settings(None, {}, Format.movielens)
SMALL = replace(SHOP, users=12, items=60)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second shop of twelve people that lives for eight requests, or forty ratings."""
    monkeypatch.setitem(WORLD_PLANS, "shop", SMALL)
    monkeypatch.setattr(second_world, "FIRST_REQUESTS", (3, 8))
    monkeypatch.setattr(second_films, "FIRST_RATINGS", (10, 40))


# --- worlds


def test_slates_are_counted_by_how_early_they_are_and_once_for_each_person() -> None:
    rng = np.random.default_rng(0)
    shown = [JudgedSlate(int(rng.integers(40)), float(rng.random()), 1.0 + float(rng.random())) for _ in range(150)]
    everybody = [JudgedSlate(user, 0.5, 2.0) for user in range(7)]
    found = row_figures(everybody, shown)
    assert list(found) == [row for row in WORLD_ROWS if "300" not in row], "only 150 requests came"
    assert found[ZERO_SHOT] == {"slates": 7, "click_through": 0.5 / SLATE, SHARE: 0.25}
    first: dict[int, JudgedSlate] = {}
    for one in shown:
        first.setdefault(one.user, one)
    for row, slates in ((row_of(30, "requests"), shown[:30]), (NEWCOMERS, list(first.values()))):
        assert found[row]["slates"] == len(slates)
        assert found[row][SHARE] == pytest.approx(sum(s.expected for s in slates) / sum(s.best for s in slates))
    assert len(first) < 150


def test_a_slate_is_judged_before_anybody_responds_to_it() -> None:
    """Whoever shows what is best has all of it, which a world takes away as soon as it is clicked."""
    for name, least, most in (("oracle", 1.0, 1.0), ("random", 0.0, 0.9)):
        world = ClosedLoopWorld(SMALL, 3)
        judged = JudgedArm(make_arm(name, 3, world, SETTINGS), world)
        outcome = ClosedLoop(world, judged, 40).run().as_dict()
        assert outcome["actions"].get("click", 0) > 0
        figures = row_figures(judged.slates, judged.slates)[ZERO_SHOT]
        assert figures["slates"] == 40
        assert least <= figures[SHARE] <= most
        assert figures[SHARE] == pytest.approx(outcome["share_of_oracle"])
        assert figures["click_through"] == pytest.approx(outcome["click_through"])


@pytest.mark.usefixtures("small")
def test_the_second_shop_starts_empty_and_by_transfer() -> None:
    done: list[int] = []
    shops = TwoWorlds("shop", 2, SETTINGS, done.append)
    found = shops.run(30)
    assert done == list(range(1, 30 + 2 * 8 + 1))
    assert shops.transferred is not None
    assert shops.transferred.coefficients > 0
    for rows in found.values():
        assert list(rows) == [ZERO_SHOT, row_of(3, "requests"), row_of(8, "requests"), NEWCOMERS]
        assert [round(row["slates"]) for row in rows.values()][:3] == [SMALL.users, 3, 8]
        assert all(0.0 < row[SHARE] <= 1.0 for row in rows.values())
    empty = EngineArm(SETTINGS)
    with empty.engine:
        alone = ClosedLoop(ClosedLoopWorld(SMALL, 2 + second_world.OTHER_WORLD), empty, 8).run().as_dict()
    assert found[EMPTY][row_of(8, "requests")][SHARE] == pytest.approx(alone["share_of_oracle"])
    assert found[EMPTY][ZERO_SHOT] != found[TRANSFERRED][ZERO_SHOT], "what is transferred decides the first slates"


# --- films


def films() -> list[Event]:
    """Films of two genres, each liked by the people of one trade: neither says the same word as the other."""
    rng = np.random.default_rng(1)
    genres, trades = ("Drama", "Western"), ("nurse", "farmer")
    log: list[Event] = [
        ItemEvent(item_id=film, timestamp=T, features={"genres": [genres[film % 2]]}) for film in range(80)
    ]
    log += [UserEvent(user_id=user, timestamp=T, features={"trade": trades[user % 2]}) for user in range(60)]
    for number in range(1_600):
        user, film = int(rng.integers(60)), int(rng.integers(80))
        value = 5.0 if user % 2 == film % 2 else 1.0
        at = T + 1_000 + 1_000 * number
        log.append(Action(user_id=user, item_id=film, action="rating", value=value, timestamp=at))
    return log


def test_two_shops_share_no_film_and_nobody() -> None:
    log = films()
    shops = halves(log, 0)
    items, people = (
        [{getattr(one, name, None) for one in shop} - {None} for shop in shops] for name in ("item_id", "user_id")
    )
    assert not items[0] & items[1]
    assert not people[0] & people[1]
    assert items[0] | items[1] == set(range(80))
    assert people[0] | people[1] == set(range(60))
    assert all(sum(isinstance(one, Action) for one in shop) > 200 for shop in shops)
    assert halves(log, 1)[0] != shops[0]
    assert halves(log, 0) == shops


@pytest.mark.usefixtures("small")
def test_what_a_trade_likes_is_known_in_the_second_shop() -> None:
    done: list[int] = []
    shops = TwoCatalogues(films(), 0, FILM_SETTINGS, done.append)
    found = shops.run(None)
    assert set(found) == {EMPTY, TRANSFERRED, POPULAR}
    assert shops.transferred is not None
    assert shops.transferred.features == 2
    first = row_of(10, "ratings")
    assert found[TRANSFERRED][first][AUC] > found[EMPTY][first][AUC] + 0.1
    assert found[TRANSFERRED][first][AUC] > 0.7, "the films of one genre, of all; 0.75 is all that can be known"
    assert found[EMPTY][first]["ranked"] == found[TRANSFERRED][first]["ranked"]
    assert done[-1] == len(shops.first) + 80
    assert done == sorted(done)


def test_popularity_is_the_number_of_likes_before() -> None:
    second = halves(films(), 0)[1]
    with Engine(None, FILM_SETTINGS) as engine:
        walk = RatingsWalk(engine, FILM_SETTINGS.labels.action_kinds.weight)
        walk.run(second, 100, lambda _: None)
    likes, rated, expected = Counter[Any](), set[tuple[Any, Any]](), list[float]()
    there = [one.item_id for one in second if isinstance(one, ItemEvent)]
    for one in [one for one in second if isinstance(one, Action)][:100]:
        if one.value == 5.0:
            others = [film for film in there if (one.user_id, film) not in rated and film != one.item_id]
            below = [(likes[film] < likes[one.item_id]) + 0.5 * (likes[film] == likes[one.item_id]) for film in others]
            expected.append(fmean(below))
            likes[one.item_id] += 1
        rated.add((one.user_id, one.item_id))
    assert [quality.auc for _, _, quality in walk.found] == pytest.approx(expected)
    assert walk.figures(2)[row_of(100, "ratings")][AUC] == pytest.approx(fmean(expected))
    assert list(walk.figures(2)) == [row_of(100, "ratings")], "what did not come has no row"


# --- figures and page


def test_differences_are_paired() -> None:
    empty, transferred = [0.50, 0.70, 0.61], [0.53, 0.75, 0.62]
    found = paired_difference(empty, transferred)
    differences = np.subtract(transferred, empty)
    assert found.mean == pytest.approx(differences.mean())
    assert found.error == pytest.approx(stats.sem(differences))
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(differences), rel=1e-3)
    assert found.sign == 0
    assert [paired_difference([0.5, 0.7], [0.5 + by, 0.7 + by]).sign for by in (0.03, -0.03)] == [1, -1]
    alone = paired_difference([0.5], [0.6])
    assert (alone.error, alone.half, alone.sign) == (None, None, 0)


def made_up(gain: float = 0.05, seeds: int = 3) -> TransferResults:
    """Worlds in which a transfer has `gain` in each seed, and films in which it is now above and now below."""
    results = {}
    for run in [run for runs in transfer_runs(seeds) for run in runs]:
        seed = int(run.options[-1])
        arms: dict[str, Any]
        if run.group == FILMS_GROUP:
            by = {EMPTY: 0.0, TRANSFERRED: 0.01 * (-1) ** seed, POPULAR: 0.1}
            arms = {
                arm: {row: {"ranked": 50, HITS: 0.1 + more, AUC: 0.6 + more} for row in FILM_ROWS}
                for arm, more in by.items()
            }
        else:
            arms = {
                arm: {row: {"slates": 30, "click_through": 0.1, SHARE: 0.5 + 0.01 * seed + more} for row in WORLD_ROWS}
                for arm, more in {EMPTY: 0.0, TRANSFERRED: gain + 0.001 * seed}.items()
            }
        results[run] = result(run, report(arms, seed))
    return TransferResults(results)


def report(arms: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "events": 1_500,
        "evaluated": 300,
        **(dict(arms[POPULAR][FILM_ROWS[-1]]) if POPULAR in arms else {"click_through": 0.1}),
        "arms": arms,
        "transferred": {"features": 2, "coefficients": 80, "vectors": 8},
        "seconds": 1.0,
        "git_commit": "c" * 40,
        "git_changed": False,
    }


def result(run: Run, told: dict[str, Any]) -> Result:
    return Result(" ".join(["stream-reco", run.command, *run.options]), {"cores": "2"}, 1, told)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (0.05, "A transfer is above an empty start by more than chance explains in:"),
        (-0.05, "It is below by more than chance explains in:"),
    ],
)
def test_the_page_says_where_there_is_a_gain(gain: float, said: str) -> None:
    page = Page("docs/results/transfer.md", transfer_page(made_up(gain), None))
    for rule in rules.OF_EVERY_PAGE:
        rule(page)
    sign = "+" if gain > 0 else "−"
    by = "5.1" if gain > 0 else "4.9"
    clear, _, rest = page.text.partition("No difference that chance does not explain")
    assert said in clear
    assert f"- shop, {ZERO_SHOT}: of the oracle **{sign}{by} ± 0.1**" in clear
    assert f"- films, {FILM_ROWS[0]}: AUC +0.0000 ± 0.0100" in rest
    assert "films" not in clear
    rows = page.table("of the second shop")
    assert rows[0] == [ZERO_SHOT, "90", "51.0%", f"{51.0 + float(by) * (1 if gain > 0 else -1):.1f}%", rows[0][-1]]
    assert "Popularity, which cannot travel, is the best of the three" in page.text


def test_one_seed_tells_nothing_for_certain() -> None:
    text = transfer_page(made_up(seeds=1), None)
    assert "more than chance explains" not in text
    assert "of the oracle +5.0\n" in text


def test_the_plot_and_the_figures_are_the_same_bytes_each_time() -> None:
    picture = transfer_plot(made_up())
    assert picture is not None
    assert picture == transfer_plot(made_up())
    assert "shop, of the oracle" in picture.decode()
    figures = json.loads(json.dumps(transfer_figures(made_up())))
    assert figures["runs"]["transfer shop 1"]["arms"][TRANSFERRED][ZERO_SHOT][SHARE] == pytest.approx(0.561)


def test_the_page_that_is_published_is_of_this_form() -> None:
    folder = Path(__file__).parents[2] / "docs/results"
    told = json.loads((folder / "transfer.json").read_bytes())["runs"]
    runs = [run for group in transfer_runs(len(told)) for run in group if run.title in told]
    assert len(runs) == len(told)
    results = {
        run: Result(one["command"], one["machine"], one["jobs"], one) for run in runs for one in (told[run.title],)
    }
    assert transfer_page(TransferResults(results), "transfer.svg") == (folder / "transfer.md").read_text()


# --- commands


def told_by(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["stream-reco", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


@pytest.mark.usefixtures("small")
def test_one_run_of_a_world_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "world.json"
    told_by(monkeypatch, "second-shop", "--world", "shop", "--seed", "1", "--requests", "20", "--json", out)
    found = json.loads(out.read_bytes())
    assert (found["world"], found["seed"], found["events"], found["evaluated"]) == ("shop", 1, 20, 8)
    assert found["click_through"] == found["arms"][TRANSFERRED][row_of(8, "requests")]["click_through"]
    assert found["settings"]["training"]["seed"] == 1


@pytest.mark.usefixtures("small")
def test_one_run_of_a_log_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stream_reco.events import encode

    log, out = tmp_path / "log.jsonl", tmp_path / "films.json"
    log.write_bytes(b"".join(encode(one) + b"\n" for one in films()))
    told_by(monkeypatch, "second-shop", log, "--format", "events", "--limit", "200", "--json", out)
    found = json.loads(out.read_bytes())
    assert found["events"] == 200
    assert found["evaluated"] == found["ranked"] == found["arms"][POPULAR][row_of(40, "ratings")]["ranked"]


def test_a_page_is_made_from_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, work = tmp_path / "ml100k", tmp_path / "work"
    data.mkdir()
    (data / "ratings.csv.gz").write_bytes(b"not read")
    made = made_up(seeds=2).results
    stores = transfer_stores(transfer_runs(2), tmp_path, work, 40)
    for store, runs in stores.items():
        for run in runs:
            store.part(run).write_text(json.dumps(made[run].report))
            store.keep(run, 1)
    options = ["--limit", "40", "--seeds", "2", "--data", tmp_path, "--work", work, "--out", tmp_path / "out"]
    told_by(monkeypatch, "reproduce", "transfer", *options)
    assert "2/2 transfer films 1: kept from commit cccccccccc: hr@10 0.2000\n" in capsys.readouterr().out
    page = (tmp_path / "out" / "transfer.md").read_text()
    assert "Generated by `stream-reco reproduce transfer --seeds 2`" in page
    assert "`stream-reco second-shop --world shop --seed 1 --requests 40`" in page
    assert "ml100k/ratings.csv.gz --format movielens --limit 40 --seed 0`" in page
    assert (tmp_path / "out" / "transfer.svg").stat().st_size > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"transfer.{end}" for end in ("md", "json", "svg")}
