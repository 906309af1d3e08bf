"""The handover from content to evidence: the stream, what is counted, the arms, the page that is written."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.config import load
from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.events import Action, Event, Impression, ItemEvent, UserEvent
from stream_reco.experiments.handover.page import handover_page
from stream_reco.experiments.handover.paired_tally import (
    BUCKETS,
    PairedTally,
    choice_shares,
    quality_by_chances,
    quality_of_choice,
    ratio_with_variance,
)
from stream_reco.experiments.handover.parts_page import parts_page
from stream_reco.experiments.handover.plan import (
    ARMS,
    BOTH,
    CONTENT,
    FILM_RUN,
    IDS,
    PART_ARMS,
    PART_FILM_RUN,
    PARTS,
    PARTS_PAGE,
    SEEDS,
    HandoverWorldStore,
    arm_settings,
    handover_runs,
    handover_stores,
    part_runs,
    world_run,
)
from stream_reco.experiments.handover.plot import handover_plot, parts_plot
from stream_reco.experiments.handover.results import HandoverResults, handover_figures, pooled
from stream_reco.experiments.handover.side_by_side import SideBySide, Span, run_choices, run_world
from stream_reco.experiments.handover.world_stream import PROBES, SLATE, WorldStream
from stream_reco.experiments.runs.plan import Run, Size
from stream_reco.experiments.runs.result_store import Result
from tests.pages import Page

T = 1_700_000_000_000


# --- the stream


def test_evidence_is_what_was_shown_before() -> None:
    impressions: Counter[Any] = Counter()
    requests: Counter[int] = Counter()
    clicked: set[tuple[Any, Any]] = set()
    described: dict[Any, bool] = {}
    for one in WorldStream(3).requests(120):
        assert [event.timestamp for event in one.before] == sorted(event.timestamp for event in one.before)
        for event in one.before:
            assert event.timestamp <= one.now
            if isinstance(event, ItemEvent):
                described[event.item_id] = event.available is not False
            elif isinstance(event, Action):
                clicked.add((event.user_id, event.item_id))
        assert one.of_user == requests[one.user]
        assert one.of_items.tolist() == [impressions[item] for item in one.probes]
        shown = [event for event in one.shown if isinstance(event, Impression)]
        assert len(shown) == len(one.shown) == SLATE
        assert len(one.probes) == len(set(one.probes)) == len(one.chances) == PROBES
        for item in [*one.probes, *(event.item_id for event in shown)]:
            assert described[item]
            assert (one.user, item) not in clicked
        impressions.update(event.item_id for event in shown)
        requests[one.user] += 1
    assert clicked
    assert max(impressions.values()) > 5 * np.mean(list(impressions.values())) / 2


def test_the_chances_are_those_by_which_people_click() -> None:
    """What a uniformly drawn item is expected to get, against what the slates by lot got."""
    expected, clicks, shown, declared = 0.0, 0, 0, set()
    for one in WorldStream(0).requests(800):
        expected += float(one.chances.mean()) * SLATE
        clicks += sum(isinstance(event, Action) and event.action == "click" for event in one.before)
        declared |= {event.user_id for event in one.before if isinstance(event, UserEvent)}
        shown += len(one.shown)
    assert clicks / shown == pytest.approx(expected / shown, rel=0.15)
    assert len(declared) == 300


def test_a_seed_is_one_stream() -> None:
    first, second, other = (
        [
            (one.user, one.probes, [event.item_id for event in one.shown if isinstance(event, Impression)])
            for one in WorldStream(seed).requests(5)
        ]
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


# --- what is counted


def test_quality_by_chances_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    chances, scores, evidence = rng.uniform(0.05, 0.6, 4), np.array([0.2, 0.5, 0.2, 0.3]), np.array([0, 2, 1, 2])
    found = quality_by_chances(scores, chances, evidence)
    labels = rng.random((200_000, 4)) < chances
    said = -np.where(labels, np.log(scores), np.log(1 - scores)).mean(axis=0)
    least = -np.where(labels, np.log(chances), np.log(1 - chances)).mean(axis=0)
    assert found.losses == pytest.approx(said - least, abs=2e-3)
    assert quality_by_chances(chances, chances, evidence).losses == pytest.approx(0.0)
    for place in range(4):
        others = [other for other in range(4) if other != place]
        for row, among in enumerate((others, [other for other in others if place and other])):
            weights = [abs(chances[place] - chances[other]) for other in among]
            right = [
                0.5
                if scores[place] == scores[other]
                else float((scores[place] > scores[other]) == (chances[place] > chances[other]))
                for other in among
            ]
            assert found.pairs[row, place] == pytest.approx(sum(weights))
            assert found.ordered[row, place] == pytest.approx(np.dot(weights, right))
    best = quality_by_chances(chances * 0.5, chances, evidence)
    assert best.ordered == pytest.approx(best.pairs)


def test_quality_of_a_choice_is_softmax_and_rank() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.8])
    found = quality_of_choice(scores, 1, np.array([0, 5, 0, 3]))
    odds = scores / (1 - scores)
    assert found.losses == pytest.approx([-np.log(1.0 / odds.sum())])
    assert found.ordered.tolist() == [[1.5], [0.0]]
    assert found.pairs.tolist() == [[3.0], [1.0]]
    assert choice_shares(scores) == pytest.approx(odds / odds.sum())


def test_the_variance_is_that_of_resampled_owners() -> None:
    rng = np.random.default_rng(1)
    wholes = rng.integers(1, 9, 300).astype(float)
    parts = 0.3 * wholes + rng.normal(0.0, wholes)
    ratio, variance = ratio_with_variance(parts, wholes)
    drawn = [(parts[picked].sum() / wholes[picked].sum()) for picked in rng.integers(0, 300, (4000, 300))]
    assert ratio == pytest.approx(parts.sum() / wholes.sum())
    assert variance == pytest.approx(np.var(drawn), rel=0.1)
    assert ratio_with_variance(parts[:1], wholes[:1])[1] is None


def test_the_tally_is_by_bucket_and_paired() -> None:
    tally = PairedTally(("a", "b"))
    chances, evidence = np.array([0.1, 0.3, 0.2]), np.array([0, 2, 100])
    first, second = (quality_by_chances(said, chances, evidence) for said in (chances, chances[::-1]))
    for more in (0, 1):
        tally.add("item", ["x", "y", "z"], evidence + more, [first, second])
        tally.add_levels(evidence + more, chances, [chances, 2 * chances[::-1]])
    figures = tally.as_dict()["item"]
    assert list(figures) == ["0", "1–2", "3–9", "100 and more"]
    assert [figures[bucket]["owners"] for bucket in figures] == [1, 2, 1, 1]
    both = figures["1–2"]
    expected = (second.losses[0] + second.losses[1]) / 2
    assert both["evaluated"] == 2
    assert both["loss"] == {"a": 0.0, "b": pytest.approx(expected)}
    assert both["loss_differences"]["b"][0] == pytest.approx(-expected)
    assert both["auc"] == {"a": 1.0, "b": pytest.approx(second.ordered[0, :2].sum() / second.pairs[0, :2].sum())}
    # Nothing else was as little known.
    assert "within" not in both
    assert both["level"] == {"a": 1.0, "b": pytest.approx(2 * (0.3 + 0.2) / (0.3 + 0.1))}
    tally.add("all", ["u"] * 3, None, [first, second])
    assert list(tally.as_dict()) == ["all", "item"]
    assert tally.as_dict()["all"]["all"]["evaluated"] == 3


# --- the arms


def test_arms_are_made_of_settings_that_there_are() -> None:
    loaded = {arm: load(None, {}, arm_settings(arm)).settings.model for arm in ARMS}
    assert loaded[BOTH] == load(None, {}, {}).settings.model
    content = loaded[CONTENT].content
    assert content.own == content.words == content.appeal == content.popularity == content.activity == 0.0
    assert content.item == loaded[BOTH].content.item
    assert set(vars(loaded[IDS].content).values()) == {0.0}


@pytest.fixture(scope="module")
def short() -> Iterator[SideBySide]:
    settings = {arm: load(None, {}, arm_settings(arm)).settings for arm in ARMS}
    with SideBySide(settings, 1_000) as loop:
        run_world(loop, 0, Span(60, 40), lambda _: None)
        # Items of one category, which nobody has met, and people of one taste: nothing but ids tells them apart.
        loop.learn(
            [
                *(
                    ItemEvent(item_id=item, features={"category": "category-1"}, timestamp=T + 10**8)
                    for item in (90_001, 90_002)
                ),
                *(Impression(user_id=2, item_id=90_001, timestamp=T + 10**8 + n) for n in range(40)),
                *(Action(user_id=2, item_id=90_001, action="click", timestamp=T + 10**8 + 50 + n) for n in range(9)),
            ]
        )
        loop.pass_time(T + 10**8 + 100, serve=True)
        yield loop


def test_content_alone_does_not_know_an_id_from_another(short: SideBySide) -> None:
    scores = dict(zip(ARMS, short.scores(1, [90_001, 90_002], T + 10**8 + 100), strict=True))
    assert scores[CONTENT][0] == scores[CONTENT][1]
    assert scores[BOTH][0] != scores[BOTH][1]
    assert scores[IDS][0] != scores[IDS][1]
    other = dict(zip(ARMS, short.scores(299, [90_001, 1], T + 10**8 + 100), strict=True))
    assert other[CONTENT][0] != other[CONTENT][1]


def test_all_arms_are_evaluated_on_the_same(short: SideBySide) -> None:
    figures = short.tally.as_dict()
    assert short.evaluated == 20
    for side in ("item", "user"):
        assert sum(entry["evaluated"] for entry in figures[side].values()) == 20 * PROBES
    assert figures["all"]["all"]["evaluated"] == 20 * PROBES


class Flat:
    """Scores by the item's id, and keeps what it was sent."""

    def __init__(self) -> None:
        self.taken: list[Event] = []

    def ingest(self, events: list[Event], *, strict: bool) -> None:
        assert strict
        self.taken += events

    def tick(self, now: int) -> None: ...

    def sync(self) -> int:
        return 1

    def score(self, user: Any, items: list[Any], *, now: int) -> np.ndarray[Any, Any]:  # noqa: ARG002 - the loop's
        assert all(event.timestamp <= now for event in self.taken)
        return np.array([0.01 * item for item in items], dtype=np.float32)


def test_choices_are_ranked_before_they_are_learned() -> None:
    events: list[Event] = [ItemEvent(item_id=item, timestamp=T) for item in range(1, 5)]
    events += [
        Action(user_id="u", item_id=item, action="click", timestamp=T + 1000 * (n + 1))
        for n, item in enumerate((1, 4, 2))
    ]
    loop = SideBySide({}, 60_000)
    loop.engines = [Flat()]  # type: ignore[list-item]
    loop.tally = PairedTally(("flat",))
    run_choices(loop, Log("log", [ListedRows(events)], DeadLetters()), Span(3, 1), lambda _: 1.0, lambda _: None)
    figures = loop.tally.as_dict()
    # Film 4 is above 2 and 3, then 2 is below 3; the first action only warms up.
    assert loop.evaluated == 2
    assert figures["user"]["1–2"]["auc"] == {"flat": pytest.approx(2 / 3)}
    assert list(figures["item"]) == ["0"]
    assert loop.engines[0].taken[:5] == events[:5]  # type: ignore[attr-defined]


# --- the page


def entry(level: float, by: float) -> dict[str, Any]:
    """An entry in which `BOTH` differs by `by` from both others, for the worse of the loss where it is above 0."""
    return {
        "evaluated": 1000,
        "owners": 50,
        "loss": {BOTH: level + by, CONTENT: level, IDS: level},
        "auc": {BOTH: 0.8 - by, CONTENT: 0.8, IDS: 0.8},
        "level": {BOTH: 1.25, CONTENT: 0.75, IDS: 1.0},
        "loss_differences": {arm: [by, 1e-6] for arm in (CONTENT, IDS)},
        "auc_differences": {arm: [-by, 1e-6] for arm in (CONTENT, IDS)},
    }


def report(by: float) -> dict[str, Any]:
    return {
        "events": 3000,
        "evaluated": 2000,
        "auc": 0.8,
        "logloss": 0.1,
        "evidence": {side: {BUCKETS[0]: entry(0.02, by), BUCKETS[3]: entry(0.01, -0.005)} for side in ("item", "user")},
        "seconds": 1.0,
        "git_commit": "c" * 40,
        "git_changed": False,
    }


def command(run: Run) -> str:
    return " ".join(["stream-reco handover", *run.options])


def found(by: float = -0.01) -> HandoverResults:
    runs = [*(world_run(seed) for seed in SEEDS), FILM_RUN]
    return HandoverResults({run: Result(command(run), {"cores": "2"}, 1, report(by)) for run in runs})


def test_runs_are_pooled_and_the_better_of_the_others_is_compared_with() -> None:
    one, other = entry(0.02, 0.01), entry(0.04, 0.03)
    other["evaluated"] = 3000
    other["loss"][IDS] = 0.0
    other["loss_differences"][IDS] = [0.07, 1e-6]
    cell = pooled([one, other])
    assert (cell.evaluated, cell.owners) == (4000, 100)
    assert cell.means["loss"][BOTH] == pytest.approx(0.25 * 0.03 + 0.75 * 0.07)
    loss = cell.with_best("loss")
    assert loss.other == IDS
    assert loss.by == pytest.approx(-(0.25 * 0.01 + 0.75 * 0.07))
    assert loss.half == pytest.approx(1.96 * np.sqrt(0.25**2 * 1e-6 + 0.75**2 * 1e-6))
    assert loss.is_worse


@pytest.mark.parametrize(("by", "worse"), [(-0.01, False), (0.001, False), (0.01, True)])
def test_a_cliff_is_named(by: float, worse: bool) -> None:
    page = Page("docs/results/handover.md", handover_page(found(by), None))
    for rule in rules.OF_EVERY_PAGE:
        rule(page)
    rows = page.table("impressions of the item")
    assert [row[0] for row in rows] == ["0", "10–29"]
    assert rows[0][1:3] == [f"{50 * len(SEEDS)}", f"{1000 * len(SEEDS):,}"]
    assert ("**" in rows[0][6]) == worse
    assert ("**" in rows[1][6]) is False
    assert rows[0][-7:] == [*["–"] * 4, "1.25", "0.75", "1.00"]
    assert ("is nowhere below the better one of the others by more" in page.text) != worse
    assert ("- films, 0 likes of the film: loss **" in page.text) == worse


def test_a_level_that_is_the_reason_is_named() -> None:
    worse = found(0.01)
    # Both sources are below in AUC over all, and nothing is known of the order among as little known.
    assert handover_page(worse, None).count("The level is.") == 2
    assert "it gives 1.2 times the likes that they get, `ids alone` 1.0 times" in handover_page(worse, None)
    told = worse.results[FILM_RUN].report["evidence"]["item"]["0"]
    told["within"] = dict.fromkeys(ARMS, 0.7)
    told["within_differences"] = {arm: [-0.2, 1e-6] for arm in ARMS[1:]}
    assert handover_page(worse, None).count("The level is.") == 1
    assert "The level is." not in handover_page(found(), None)


def test_the_plot_and_the_figures_are_the_same_bytes_each_time() -> None:
    picture = handover_plot(found())
    assert picture is not None
    assert picture == handover_plot(found())
    assert "ids alone" in picture.decode()
    figures = json.loads(json.dumps(handover_figures(found(), "handover", ARMS)))
    assert set(figures["arms"]) == set(ARMS)
    assert figures["runs"][FILM_RUN.title]["evidence"]["item"]["0"]["owners"] == 50


def found_parts() -> HandoverResults:
    """Without "equal" the loss is larger and new items are in a worse order; "context" changes nothing."""
    losses = {BOTH: 0.02, "content": 0.05, "equal": 0.03, "context": 0.02}
    worth = {arm: losses.get(arm, 0.0201) - 0.02 for arm in PART_ARMS}
    one = {
        "evaluated": 100,
        "owners": 9,
        "loss": {arm: 0.02 + by for arm, by in worth.items()},
        "auc": {arm: 0.8 - by for arm, by in worth.items()},
        "loss_differences": {arm: [-by, 1e-6] for arm, by in worth.items() if arm != BOTH},
        "auc_differences": {arm: [by, 1e-6] for arm, by in worth.items() if arm != BOTH},
    }
    told = report(0.0) | {"evidence": {"all": {"all": one}, "item": {"0": one}, "user": {}}}
    runs = [run for group in part_runs() for run in group]
    return HandoverResults({run: Result(command(run), {"cores": "2"}, 1, told) for run in runs})


def test_what_a_part_is_worth_is_what_is_lost_without_it() -> None:
    page = Page(f"docs/results/{PARTS_PAGE}.md", parts_page(found_parts(), None))
    for rule in rules.OF_EVERY_PAGE:
        rule(page)
    rows = page.table("without")
    assert rows[0][:3] == ["– (the loop)", "0.0200", ""]
    # The most important part comes first.
    assert [row[0] for row in rows[1:3]] == ["content", "equal"]
    assert {row[0] for row in rows[1:]} == set(PARTS)
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["equal"][:4] == ["0.0300", "+0.0100 ± 0.0020", "0.7900", "+0.0100 ± 0.0020"]
    assert by_name["context"][1::2] == ["="] * 4
    assert by_name["appeal"][1].startswith("≈ +0.0001")
    picture = parts_plot(found_parts())
    assert picture is not None
    assert picture == parts_plot(found_parts())


def test_parts_are_left_out_one_at_a_time() -> None:
    default = vars(load(None, {}, {}).settings.model.content)
    for arm, names in PARTS.items():
        without = vars(load(None, {}, arm_settings(arm)).settings.model.content)
        changed = {name for name, value in without.items() if value != default[name]}
        assert changed == (set(names) or set(default))
    assert PART_FILM_RUN.options[1] == "parts"


@pytest.mark.parametrize("name", ["handover", PARTS_PAGE])
def test_the_page_that_is_published_is_of_this_form(name: str) -> None:
    runs, page = {"handover": (handover_runs(), handover_page), PARTS_PAGE: (part_runs(), parts_page)}[name]
    folder = Path(__file__).parents[2] / "docs/results"
    figures = json.loads((folder / f"{name}.json").read_bytes())
    results = {
        run: Result(told["command"], told["machine"], told["jobs"], told)
        for group in runs
        for run in group
        for told in (figures["runs"][run.title],)
    }
    assert page(HandoverResults(results), f"{name}.svg") == (folder / f"{name}.md").read_text()


def test_a_short_one_is_made_from_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One seed is run; the others' results are already in the store."""
    data = tmp_path / "ml100k"
    data.mkdir()
    (data / "ratings.csv.gz").write_bytes(b"not read")
    work = tmp_path / "work"
    stores = handover_stores(handover_runs(), tmp_path, work, 30, 20)
    for store, runs in stores.items():
        for run in runs:
            if run != world_run(1):
                store.part(run).write_text(json.dumps(report(0.0)))
                store.keep(run, 1)
    arguments = ["handover", "--limit", "30", "--warm-up", "20", "--data", tmp_path, "--work", work]
    monkeypatch.setattr(sys, "argv", ["stream-reco", "reproduce", *map(str, arguments), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert ended.value.code in (0, None), output.err
    for name in ("handover.md", "handover.json", "handover.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    run_here = next(iter(stores)).finished(world_run(1)).report
    assert (run_here["events"], run_here["evaluated"]) == (30, 10)
    assert "handover world 0: kept from commit" in output.out


def test_results_are_of_one_size(tmp_path: Path) -> None:
    names = {HandoverWorldStore(tmp_path, 30, warm_up).file(world_run(0), "json") for warm_up in (10, 20)}
    assert len(names) == 2
    assert HandoverWorldStore(tmp_path, 30, 10).size == Size(30, 10)
    assert len({world_run(seed) for seed in SEEDS}) == len(SEEDS)
    assert all(one < two for one, two in pairwise(SEEDS))
