"""The experiment on collisions: ids that meet, the tables in which they do, its runs, and the page that it writes."""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.cli.commands.learn import learn
from stream_reco.config import Settings
from stream_reco.datasets import Log
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.rows import ListedRows
from stream_reco.embedding import EmbeddingTable
from stream_reco.events import Action
from stream_reco.experiments.collisions.hash import PAPER_IDS, PAPER_ROWS, Sharing, bucket_of, sharing
from stream_reco.experiments.collisions.hashed_table import HashedTable
from stream_reco.experiments.collisions.page import CollisionResults, collisions_figures, collisions_page
from stream_reco.experiments.collisions.plan import COLLISION_LOGS, FILMS, WINDOWS, power
from stream_reco.experiments.collisions.plot import _COLOURS, collisions_plot
from stream_reco.experiments.collisions.train_variants import LearnRun
from stream_reco.experiments.pages.tables import ExperimentResults
from stream_reco.experiments.runs.plan import LOG, SEEDS, Size, command_of, config_text
from stream_reco.experiments.runs.result_store import Result
from stream_reco.model.features.names import FAMILIES
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import DAY_MS
from stream_reco.train.settings import TrainSettings
from tests.experiments.test_reproduce import told, write_log
from tests.pages import Page

START = 1_507_000_000_000
KEYS = st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 40), min_size=1, max_size=40)


def md5_mod(number: int, rows: int) -> int:
    """The paper's hash, as the paper has it."""
    return int(hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(), 16) % rows


def array(keys: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(keys, dtype=np.int64)


# --- ids that meet


def test_the_counts_of_the_paper() -> None:
    counted = {name: sharing(range(count), PAPER_ROWS).rows for name, count in PAPER_IDS.items()}
    assert PAPER_IDS == {"users": 162_541, "films": 59_047}
    assert counted == {"users": 149_970, "films": 57_361}
    assert counted["films"] == len({md5_mod(number, 1_000_000) for number in range(59_047)})


@given(KEYS, st.integers(0, 12))
def test_who_shares_is_who_has_an_equal(ids: list[int], bits: int) -> None:
    buckets = {number: md5_mod(number, 1 << bits) for number in ids}
    assert {number: bucket_of(number, 1 << bits) for number in ids} == buckets
    values = list(buckets.values())
    alone = sum(values.count(bucket) == 1 for bucket in values)
    assert sharing(ids, 1 << bits) == Sharing(len(buckets), len(set(values)), len(buckets) - alone)
    assert sharing(ids, None) == Sharing(len(buckets), len(buckets), 0)


def test_nobody_shares_where_nobody_is() -> None:
    assert sharing([], 8).share == 0.0


# --- tables in which they do


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(0, 8))
def test_keys_share_a_row_where_their_hashes_are_equal_and_nowhere_else(ids: list[int], bits: int) -> None:
    distinct = list(dict.fromkeys(ids))
    table = HashedTable(EmbeddingTable(2, "sgd", name="user"), bits)
    rows = table.train_rows(array(ids), START).tolist()
    row_of = dict(zip(ids, rows, strict=True))
    for one in distinct:
        for other in distinct:
            assert (row_of[one] == row_of[other]) == (md5_mod(one, 1 << bits) == md5_mod(other, 1 << bits))
    assert len(table) == sharing(ids, 1 << bits).rows
    before = table.lookup(array(distinct))
    table.apply_gradients(array(distinct[:1]), np.ones((1, 2), np.float32))
    moved = (table.lookup(array(distinct)) != before).all(axis=1)
    assert moved.tolist() == [row_of[one] == row_of[distinct[0]] for one in distinct]
    table.check_invariants()


def test_gradients_of_keys_that_meet_are_summed() -> None:
    one, other = next((a, b) for a in range(9) for b in range(a) if bucket_of(a, 8) == bucket_of(b, 8))
    hashed, plain = HashedTable(EmbeddingTable(1, "adagrad"), 3), EmbeddingTable(1, "adagrad")
    hashed.train_rows([one, other], START)
    plain.train_rows([one], START)
    hashed.apply_gradients([one, other], np.array([[1.0], [2.0]], np.float32))
    plain.apply_gradients([one], np.array([[3.0]], np.float32))
    assert hashed.lookup([other]) == hashed.lookup([one]) == plain.lookup([one])


def test_reading_takes_no_row_and_finds_those_of_others() -> None:
    table = HashedTable(EmbeddingTable(2, init_scale=1.0), 1)
    zero, one = (next(key for key in range(99) if bucket_of(key, 2) == bucket) for bucket in (0, 1))
    also_zero = next(key for key in range(99) if key != zero and bucket_of(key, 2) == 0)
    assert not table.lookup([zero, one, also_zero]).any()
    assert len(table) == 0
    table.train_rows([zero], START)
    row, nothing, same = table.lookup([zero, one, also_zero])
    assert row.all()
    assert (same == row).all()
    assert not nothing.any()
    assert len(table) == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(KEYS, max_size=6), st.integers(0, 1 << 31))
def test_without_collisions_it_is_the_collisionless_table(batches: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain = EmbeddingTable(3, "adagrad", ttl_ms=2000, name="item", seed=5)
    hashed = HashedTable(plain, 62)
    for number, keys in enumerate(batches):
        now = START + 1000 * number
        gradients = rng.normal(size=(len(keys), 3)).astype(np.float32)
        for table in (plain, hashed):
            table.train_rows(array(keys[::2]), now)
            table.apply_gradients(array(keys), gradients)
            table.evict(now)
        asked = array([key for some in batches for key in some])
        assert (hashed.lookup(asked) == plain.lookup(asked)).all()
    assert (hashed.keys() == plain.keys()).all()
    assert hashed.ignored == plain.ignored


# --- learning


def tastes(users: int, items: int = 40, kinds: int = 2, days: int = 1) -> Log:
    """Each user acts once on half of the items that leave the same remainder by `kinds` as the user, in any order."""
    rng = np.random.default_rng(1)
    pairs = [
        (user, user % kinds + kinds * int(item))
        for user in range(users)
        for item in rng.permutation(items // kinds)[: items // kinds // 2]
    ]
    rng.shuffle(pairs)
    actions = [
        Action(user_id=user, item_id=item, action="click", timestamp=START + number * days * DAY_MS // len(pairs))
        for number, (user, item) in enumerate(pairs)
    ]
    return Log("tastes", [ListedRows(actions)], DeadLetters())


def learned(log: Log, *bits: int, seeds: tuple[int, ...] = (), idle_days: float = 90.0) -> dict[str, Any]:
    """The report of a run whose model knows ids and nothing else."""
    training = TrainSettings(
        batch=8,
        learning_rate=1e-2,
        average_steps=10,
        hard_negatives=0,
        popular_negatives=4,
        uniform_negatives=0,
        wait_seconds=1e6,
        row_idle_days=idle_days,
    )
    chosen = Settings(model=ModelSettings(settings=TwoTowerDcnSettings(without=tuple(FAMILIES))), training=training)
    run = LearnRun(chosen, len(log), len(log) // 3, list(bits), list(seeds))
    run.learn(log)
    return run.report(log)


def quality(variant: dict[str, Any]) -> dict[str, Any]:
    return {name: variant[name] for name in ("auc", "logloss", "calibration", "windows")}


def test_collisions_cost_and_their_absence_does_not() -> None:
    log = tastes(120)
    report = learned(log, 40, 0, seeds=(2,))
    full, large, one, other = report["variants"]
    asked = [(variant["hash_bits"], variant["seed"]) for variant in report["variants"]]
    assert asked == [(None, 0), (40, 0), (0, 0), (None, 2)]
    assert quality(large) == quality(full)
    assert large["tables"] == full["tables"]
    assert one["auc"] < 0.6 < 0.65 < full["auc"]
    assert one["logloss"] > full["logloss"] + 0.02
    assert quality(other) != quality(full)
    assert other["auc"] > 0.65
    for variant in report["variants"]:
        assert [part["count"] for part in variant["windows"]] == [part["count"] for part in full["windows"]]
        users, items = variant["tables"]["user"], variant["tables"]["item"]
        if variant is one:
            assert [(table["rows"], table["live"]) for table in (users, items)] == [(1, 1)] * 2
            assert (users["shared"], items["shared"]) == (120, 40)
        else:
            assert [(table["rows"], table["live"], table["shared"]) for table in (users, items)] == [
                (120, 120, 0),
                (40, 40, 0),
            ]
    assert report["auc"] == full["auc"]
    assert (report["events"], len(full["windows"]), len(report["window_ends"])) == (len(log), WINDOWS, WINDOWS)
    assert sum(part["count"] for part in full["windows"]) > report["evaluated"] > 0
    assert report["dead_letters"] == {}


def test_rows_leave_the_tables_of_all_alike() -> None:
    report = learned(tastes(100, days=60), 40, idle_days=2)
    full, large = report["variants"]
    assert full["tables"]["user"]["live"] < full["tables"]["user"]["rows"] - 50
    assert large["tables"] == full["tables"]
    assert quality(large) == quality(full)


def test_others_change_nothing_for_the_first() -> None:
    log = tastes(20)
    assert learned(log, 3, seeds=(7,))["variants"][0] == learned(log)["variants"][0]


# --- what is run


def test_the_runs_and_what_is_compared() -> None:
    for shelf in COLLISION_LOGS:
        command = command_of(shelf.run, "x", shelf.size(None, None), shelf.log_format)
        assert command[0] == "learn"
        assert "--warm-up" not in command
        assert ("--limit" in command) == (shelf.limit is not None)
        given_bits = [int(value) for name, value in pairwise(command) if name == "--hash-bits"]
        assert tuple(given_bits) == shelf.bits
        assert sorted(given_bits, reverse=True) == given_bits
        experiment = shelf.experiment
        assert [run.title for run in experiment.runs] == ["collisionless", *map(power, shelf.bits)]
        assert [run.seed for run in experiment.seeds] == list(SEEDS)
        assert config_text(shelf.run)
    assert power(16) == "2¹⁶"


def test_limits_that_are_asked_for_hold_for_both_logs() -> None:
    assert [shelf.size(70, 30) for shelf in COLLISION_LOGS] == [Size(70, 30)] * 2
    assert COLLISION_LOGS[0].size(None, None) == Size(None, None)


def test_the_options_are_those_of_learn() -> None:
    names = {f"--{name.replace('_', '-')}" for name in learn.__annotations__}
    for shelf in COLLISION_LOGS:
        assert set(shelf.run.options[::2]) == {"--hash-bits", "--other-seed"} <= names


def write_films(folder: Path) -> None:
    """Ratings as those of MovieLens."""
    rng = np.random.default_rng(2)
    lines = [f"{rng.integers(20)},{rng.integers(30)},{rng.integers(3, 6)},{874_724_710 + n * 60}" for n in range(300)]
    (folder / FILMS).mkdir()
    (folder / FILMS / "ratings.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(lines) + "\n")


def test_it_writes_its_page_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_films(tmp_path)
    write_log(tmp_path)
    there = ["--data", str(tmp_path), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o"), "--limit", "120"]
    monkeypatch.setattr(sys, "argv", ["stream-reco", "reproduce", "collisions", *there])
    for word in ("started", "kept from commit"):
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr().out
        assert ended.value.code == 0
        assert output.count(word) == 2
    assert "auc 0." in output
    assert {path.name for path in (tmp_path / "o").iterdir()} == {f"collisions.{end}" for end in ("json", "md", "svg")}
    page = Page("docs/results/collisions.md", (tmp_path / "o" / "collisions.md").read_text())
    rows = page.table("rows for each")
    assert "120 events, the first 40 of them" in page.text
    assert "$STREAM_RECO_DATA/ml100k/ratings.csv --format movielens --limit 120" in page.text
    assert [row[0] for row in rows][:2] == ["collisionless", "2¹²"]
    figures = json.loads((tmp_path / "o" / "collisions.json").read_bytes())
    assert set(figures["logs"]) == {"ml100k", "globo"}
    assert figures["paper"]["users"]["rows"] == 149_970


def test_a_log_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--data", tmp_path, "--work", tmp_path / "w", "--out", tmp_path / "o")

    def complaint(name: str, *options: object) -> tuple[object, str]:
        return told(monkeypatch, capsys, name, *there, *options)

    status, errors = complaint("collisions")
    assert status == 1
    assert f"{tmp_path / FILMS} is not a folder" in errors
    assert "https://grouplens.org/" in errors
    (tmp_path / FILMS).mkdir()
    assert "there are no ratings in it" in complaint("collisions")[1]
    (tmp_path / FILMS).rmdir()
    write_films(tmp_path)
    for name in ("collisions", "all"):
        status, errors = complaint(name)
        assert (status, f"{tmp_path / LOG}: No such file" in errors) == (1, True), errors
    status, errors = complaint("collisions", "--limit", 5, "--warm-up", 5)
    assert (status, "--warm-up 5 leaves nothing of --limit 5" in errors) == (2, True)


# --- what is written


def made_up() -> CollisionResults:
    """Figures that fall with the size of the table."""
    found = {}
    for shelf in COLLISION_LOGS:
        results = {}
        for place, run in enumerate(shelf.experiment.everything):
            is_hashed = run.group == "hashed"
            auc = 0.8 - 0.01 * place if is_hashed else 0.8 + 0.015 * (run.seed == 1)
            table = {"ids": 1000, "rows": 900, "shared": 150 if is_hashed else 0, "live": 900, "bytes": 1_500_000}
            windows = [
                {"count": 10, "auc": None if n == 0 else auc + n / 100, "logloss": 0.3, "calibration": 1.0}
                for n in range(WINDOWS)
            ]
            report = {
                "events": 3000,
                "warm_up": 1000,
                "evaluated": 2000,
                "auc": auc,
                "logloss": 0.3,
                "calibration": 1.0,
                "hash_bits": None,
                "seed": run.seed,
                "windows": windows,
                "tables": {"user": table, "item": table},
                "git_commit": "c" * 40,
                "git_changed": False,
                "settings": {},
                "seconds": 12.0,
            }
            results[run] = Result(f"stream-reco learn x --format {shelf.log_format}", {"processor": "P"}, 1, report)
        found[shelf] = ExperimentResults(shelf.experiment, results)
    return found


@pytest.fixture
def found() -> CollisionResults:
    return made_up()


def test_differences_are_to_the_collisionless_table(found: CollisionResults) -> None:
    page = Page("docs/results/collisions.md", collisions_page(found, None))
    rows = {row[0]: row[1:] for row in page.table("rows for each")}
    assert rows["collisionless"] == ["0.0%", "0.0%", "900 + 900", "3.0", "0.8000", "", "0.3000", "", "1.000"]
    assert rows["2¹²"][:6] == ["15.0%", "15.0%", "900 + 900", "3.0", "0.7900", "≈ −0.0100"]
    assert rows["2¹⁰"][5:8] == ["−0.0200", "0.3000", "="]
    assert rows["collisionless, seed 1"][4:6] == ["0.8150", ""]
    assert "AUC from 0.8000 to 0.8150" in page.text
    paper = {row[0]: row[1:] for row in page.table("ids")}
    assert paper["users"] == ["162,541", "149,970", "24,463 (15.1%)"]
    assert paper["films"][:2] == ["59,047", "57,361"]
    for shelf in COLLISION_LOGS:
        assert page.text.count(f"stream-reco learn x --format {shelf.log_format}") == 1


def test_the_page_keeps_the_rules_of_pages(found: CollisionResults) -> None:
    page = Page("docs/results/collisions.md", collisions_page(found, None))
    assert page.text.endswith("\n")
    assert not page.blocks
    for rule in rules.OF_EVERY_PAGE:
        rule(page)


def test_plot_and_figures_are_the_same_each_time(found: CollisionResults, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = collisions_plot(found)
    assert picture is not None
    assert picture == collisions_plot(made_up())
    text = picture.decode()
    assert "<dc:date>" not in text
    for shelf in COLLISION_LOGS:
        assert shelf.heading in text
        for bits in shelf.bits:
            assert power(bits) in text
            assert power(bits) in _COLOURS
    figures = json.loads(json.dumps(collisions_figures(found)))
    assert set(figures["logs"]["globo"]["variants"]) == {run.title for run in COLLISION_LOGS[1].experiment.everything}
    assert figures["logs"]["globo"]["variants"]["2⁸"]["windows"][3]["count"] == 10
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert collisions_plot(found) is None
    assert "svg" not in collisions_page(found, None)
