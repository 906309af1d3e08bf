"""Closed-loop worlds as an experiment: arms, what is counted, the command, the page that it writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.config import Settings, load
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, UserEvent
from stream_reco.experiments.runs.plan import Run, config_text
from stream_reco.experiments.runs.result_store import Result
from stream_reco.experiments.shop.arm import Arm, ArmSlate
from stream_reco.experiments.shop.arms import make_arm
from stream_reco.experiments.shop.closed_loop import SLATE, ClosedLoop
from stream_reco.experiments.shop.feature_arms import SIZE, LinUcb, RidgeOnTastes
from stream_reco.experiments.shop.item_arms import ItemNeighbours, MostPopular, ThompsonPerItem
from stream_reco.experiments.shop.outcome import PARTS, PUBLISHED_MS, Outcome
from stream_reco.experiments.shop.page import shop_page
from stream_reco.experiments.shop.plan import OURS, TITLES, VARIANTS, WORLD_NAMES, WorldStore, shop_runs, world_arms
from stream_reco.experiments.shop.plot import shop_plot
from stream_reco.experiments.shop.results import ShopResults, interval, shop_figures
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import SHOP, WORLD_PLANS
from tests.pages import Page

T = 1_700_000_000_000
CHEAP = [arm for arm in TITLES if arm != OURS]


def shop(items: int = 6) -> list[Event]:
    """Items of two categories in turn, and two people who like one each."""
    events: list[Event] = [
        ItemEvent(item_id=item, timestamp=T, features={"category": f"c{item % 2}"}) for item in range(items)
    ]
    events += [UserEvent(user_id=user, timestamp=T, features={"tastes": [f"c{user}"]}) for user in (0, 1)]
    return events


def shown(user: Id, item: Id, at: int = T) -> Impression:
    return Impression(user_id=user, item_id=item, timestamp=at)


def acted(user: Id, item: Id, at: int = T, action: str = "click") -> Action:
    return Action(user_id=user, item_id=item, action=action, timestamp=at)


# --- arms


@pytest.mark.parametrize("name", CHEAP)
def test_every_arm_shows_what_is_available_and_new_to_the_user(name: str) -> None:
    world = ClosedLoopWorld(SHOP, 1)
    arm = make_arm(name, 1, world, Settings())
    loop = ClosedLoop(world, arm, 60)
    figures = loop.run().as_dict()
    assert figures["evaluated"] == 60
    assert figures["places_missing"] == figures["shown_unavailable"] == figures["shown_after_dislike"] == 0
    assert 0 < figures["click_through"] < 1
    if name == "oracle":
        assert figures["share_of_oracle"] == 1.0
        assert figures["regret"] == 0.0
    else:
        assert 0 < figures["share_of_oracle"] < 1
        assert figures["regret"] > 0


def test_the_most_popular_forgets() -> None:
    arm = MostPopular(0, half_life_ms=1000.0)
    arm.observe([*shop(), *(acted(9, 1) for _ in range(5)), acted(9, 2, T + 10_000)])
    assert arm.slate(0, 2, T).items == [2, 1]


def test_neighbours_are_those_of_the_clicked() -> None:
    arm = ItemNeighbours(0)
    arm._epsilon = 0.0
    # 0 and 3 have half of their clicks in common, 0 and 4 a smaller part by the cosine.
    clicks = [(10, 0), (10, 3), (11, 0), (11, 4), (12, 4), (13, 4), (14, 4)]
    arm.observe([*shop(), *(acted(user, item) for user, item in clicks), acted(1, 0)])
    assert list(arm.slate(1, 2, T).items) == [3, 4]
    slots = np.array([3, 4], dtype=np.int64)
    assert arm.scores(1, slots) == pytest.approx([1 / np.sqrt(3 * 1), 1 / np.sqrt(3 * 4)])


def test_thompson_shows_what_is_clicked_and_tries_what_is_not_known() -> None:
    arm = ThompsonPerItem(0)
    arm.observe(shop(3))
    for number in range(400):
        arm.observe([shown(number, 0), shown(number, 1)])
        if number % 2 == 0:
            arm.observe([acted(number, 0)])
    first = [arm.slate(5000, 3, T).items[0] for _ in range(300)]
    assert first.count(0) > 280
    second = [arm.slate(5000, 3, T).items[1] for _ in range(300)]
    assert second.count(2) > 250  # nobody has seen it, and nobody wants 1


def test_the_ridge_has_the_coefficients_of_least_squares() -> None:
    arm, rng = RidgeOnTastes(0), np.random.default_rng(1)
    arm.observe(shop())
    rows: dict[int, list[tuple[int, float]]] = {0: [], 1: []}
    for _ in range(1000):
        user, item = int(rng.integers(2)), int(rng.integers(6))
        clicked = rng.random() < (0.6 if user == item % 2 else 0.1)
        arm.observe([shown(user, item), *([acted(user, item)] if clicked else [])])
        rows[item % 2].append((user, float(clicked)))
    arm.known.acted_on.clear()
    for user in (0, 1):
        expected = []
        for category in (0, 1):
            # The constant and one column for each taste, as people declare either one or the other.
            matrix = np.array([[1.0, user == 0, user == 1] for user, _ in rows[category]])
            clicks = np.array([clicked for _, clicked in rows[category]])
            weights = np.linalg.solve(matrix.T @ matrix + np.eye(3), matrix.T @ clicks)
            expected.append(float(np.array([1.0, user == 0, user == 1]) @ weights))
        assert arm.scores(user, np.array([0, 1], dtype=np.int64)) == pytest.approx(expected, abs=0.01)
        assert [int(str(item)) % 2 for item in arm.slate(user, 3, T).items].count(user) >= 2


def test_linucb_has_the_bounds_of_its_formula() -> None:
    arm, rng = LinUcb(0), np.random.default_rng(2)
    arm.observe(shop(2))
    squares, products = np.eye(SIZE), np.zeros(SIZE)
    for _ in range(50):
        user, clicked = int(rng.integers(2)), rng.random() < 0.4
        taste = arm._tastes.of(user)
        arm.observe([shown(user, 1), *([acted(user, 1)] if clicked else [])])
        squares, products = squares + np.outer(taste, taste), products + clicked * taste
    for user in (0, 1):
        taste = arm._tastes.of(user)
        inverse = np.linalg.inv(squares)
        bound = taste @ inverse @ products + 0.5 * np.sqrt(taste @ inverse @ taste)
        assert arm.scores(user, np.array([1], dtype=np.int64))[0] == pytest.approx(bound)


def test_reading_tastes_is_worth_something_and_ids_alone_little() -> None:
    """The order of the arms in a short shop: what the experiment is about."""
    through = {}
    for name in ("random", "neighbours", "ridge", "oracle"):
        world = ClosedLoopWorld(SHOP, 0)
        through[name] = ClosedLoop(world, make_arm(name, 0, world, Settings()), 600).run().as_dict()["click_through"]
    assert 0.8 * through["random"] < through["neighbours"] < through["ridge"] < 0.9 * through["oracle"]
    assert through["ridge"] > 2 * through["random"]


# --- what is counted


class Stubborn:
    """Shows the same items to everybody, whatever happens."""

    def __init__(self, items: Sequence[Id]) -> None:
        self._items = items

    def slate(self, user: int, k: int, now: int) -> ArmSlate:  # noqa: ARG002 - the interface's
        return ArmSlate(self._items[:k], None, None, [0.25] * min(k, len(self._items)))

    def observe(self, events: Sequence[Event]) -> None:
        """Learn nothing."""


def stubborn(items: Sequence[Id], requests: int = 300) -> dict[str, Any]:
    arm: Arm = Stubborn(items)
    return ClosedLoop(ClosedLoopWorld(SHOP, 4), arm, requests).run().as_dict()


def test_what_should_not_be_shown_is_counted() -> None:
    world = ClosedLoopWorld(SHOP, 4)
    alive = world.random_slate(0, 7, world.start_ms)
    unavailable = 10**9
    figures = stubborn([*alive, unavailable])
    assert figures["places_missing"] == 2 * 300
    assert figures["shown_unavailable"] >= 300
    assert figures["shown_after_dislike"] > 0
    assert figures["coverage"] == pytest.approx(8 / 530, rel=0.1)
    assert figures["new_items_shown"] == 0.0
    assert figures["calibration"] == pytest.approx(8 * 0.25 * 300 / (figures["click_through"] * SLATE * 300))
    assert len(figures["tenths"]["calibration"]) == PARTS


def test_an_item_that_has_just_gone_may_still_be_shown() -> None:
    world = ClosedLoopWorld(SHOP, 4)
    gone = next(
        event
        for event in world.item_events(world.start_ms, world.start_ms + SHOP.length_ms)
        if isinstance(event, ItemEvent) and event.available is False
    )
    for later, expected in ((0, 0), (PUBLISHED_MS - 1, 0), (PUBLISHED_MS, 1)):
        outcome = Outcome(world, SLATE, 1)
        outcome.judge(0, ArmSlate([gone.item_id]), gone.timestamp + later)
        assert outcome.as_dict()["shown_unavailable"] == expected


# --- the command and the page


def report_of(run: Run, requests: int) -> dict[str, Any]:
    """A report with made-up figures that depend on the arm and the seed."""
    arm, seed = run.options[2], int(run.options[4])
    through = 0.03 * (1 + list(TITLES).index(arm)) + 0.001 * seed
    ours = arm == OURS
    return {
        "evaluated": requests,
        "click_through": through,
        "click_through_last_fifth": through * 1.1,
        "share_of_oracle": through / 0.24,
        "regret": 10 * (0.25 - through),
        "coverage": 0.5,
        "new_items": 40,
        "new_items_shown": 0.25,
        "shown_after_dislike": 0,
        "shown_unavailable": 0,
        "places_missing": 0,
        "actions": {"click": 3},
        "tenths": {"click_through": [through] * PARTS, "calibration": [1.25 if ours else None] * PARTS},
        "calibration": 1.25 if ours else None,
        "calibration_last_fifth": 1.1 if ours else None,
        "seconds": 1.0,
        "git_commit": "c" * 40,
        "git_changed": False,
    }


def made_up(seeds: int) -> ShopResults:
    results = {
        run: Result("stream-reco simulate " + " ".join(run.options), {"cores": "2"}, 2, report_of(run, 100))
        for run in shop_runs(seeds)
    }
    return ShopResults(results, seeds)


def test_every_world_has_every_arm_and_the_shop_the_variants() -> None:
    runs = list(shop_runs(2))
    assert len(set(runs)) == len({run.title for run in runs}) == len(runs)
    assert tuple(WORLD_PLANS) == WORLD_NAMES
    assert len(runs) == 2 * (len(WORLD_PLANS) * len(TITLES) + len(VARIANTS))
    assert [row.arm for row in world_arms("news")] == list(TITLES)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.title)
def test_every_variant_is_made_of_settings_that_there_are(variant: Any, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(config_text(Run("x", (), settings=variant.settings)))
    load(file, {}, {})


def test_intervals_are_of_student() -> None:
    # scipy.stats.t.interval(0.95, 4, mean, sem) of these: 3 ± 1.9632
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.mean, found.half) == pytest.approx((3.0, 1.9632), abs=1e-3)
    assert interval([0.5]).half == 0.0


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_page_keeps_the_rules_of_pages(seeds: int) -> None:
    page = Page("docs/results/shop.md", shop_page(made_up(seeds), None))
    assert page.text.endswith("\n")
    for rule in rules.OF_EVERY_PAGE:
        rule(page)
    for world in WORLD_PLANS:
        assert f"\n## {world.capitalize()}\n" in page.text
    for title in TITLES.values():
        assert page.text.count(f"| {title} |") >= len(WORLD_PLANS)
    for variant in VARIANTS:
        assert f"| {variant.title} |" in page.text
    assert f"stream-reco reproduce shop --seeds {seeds}`" in page.text
    assert "Only the first" not in page.text
    short = shop_page(ShopResults(made_up(seeds).results, seeds, 50), None)
    assert "Only the first 50 requests of each world" in short
    assert f"--seeds {seeds} --limit 50`" in short
    assert ("±" in page.text) == (seeds > 1)
    assert "| calibration | 1.25 |" in page.text


def test_the_plot_and_the_figures_are_the_same_bytes_each_time() -> None:
    picture = shop_plot(made_up(2))
    assert picture is not None
    assert picture == shop_plot(made_up(2))
    assert "this loop" in picture.decode()
    told = json.loads(json.dumps(shop_figures(made_up(2))))
    runs = told["worlds"]["shop"][TITLES["random"]]["runs"]
    assert [run["click_through"] for run in runs] == pytest.approx([0.03, 0.031])


def test_the_page_that_is_published_is_of_this_form() -> None:
    folder = Path(__file__).parents[2] / "docs/results"
    page = Page("docs/results/shop.md", (folder / "shop.md").read_text())
    figures = json.loads((folder / "shop.json").read_bytes())
    for world in WORLD_PLANS:
        rows = figures["worlds"][world]
        assert set(TITLES.values()) <= set(rows)
        for title in TITLES.values():
            mean = sum(run["click_through"] for run in rows[title]["runs"]) / figures["seeds"]
            assert f"| {title} | {mean:.4f}" in page.text
        assert sum(run["shown_unavailable"] for row in rows.values() for run in row["runs"]) == 0


def test_a_short_one_is_made_from_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arms that need no engine; the others' results are already in the store."""
    store = WorldStore(tmp_path / "work", 20)
    run_here = [run for run in shop_runs(1) if run.options[2] in ("random", "linucb") and run.options[0] != "news"]
    for run in shop_runs(1):
        if run not in run_here:
            store.part(run).write_text(json.dumps(report_of(run, 20)))
            store.keep(run, 1)
    arguments = ["shop", "--seeds", "1", "--limit", "20", "--jobs", "2"]
    arguments += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["stream-reco", "reproduce", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert ended.value.code in (0, None), output.err
    for name in ("shop.md", "shop.json", "shop.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    for run in run_here:
        assert f"{run.title}: click-through 0.0" in output.out
        assert store.finished(run).report["evaluated"] == 20
    assert "shop ours 0: kept from commit" in output.out
