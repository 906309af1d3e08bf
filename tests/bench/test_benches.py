"""The benchmarks of the loop, on next to nothing: that they run and measure what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stream_reco.events import Action, Event, ItemEvent, validate
from tests.bench import (
    bench_answering,
    bench_content,
    bench_events,
    bench_filters,
    bench_freshness,
    bench_labels,
    bench_learned_click,
    bench_load,
    bench_loop,
    bench_million,
    bench_serve,
    bench_similar,
    bench_soak,
    bench_table,
    load_page,
    table_page,
    table_pauses,
    table_sizes,
)
from tests.bench.busy_shop import ITEMS, USERS, batches, catalogue, clicks
from tests.bench.running_server import ROOT


def leaves(figures: Any) -> list[float]:
    """All numbers in it."""
    return [one for part in figures.values() for one in (leaves(part) if isinstance(part, dict) else [part])]


def test_the_shop_is_the_same_each_time_and_sells_unequally() -> None:
    events = [event for event in clicks(3_000) if isinstance(event, Action)]
    assert events == clicks(3_000)
    assert events != clicks(3_000, seed=1)
    assert len(events) == 3_000
    assert all(0 <= int(event.user_id) < USERS for event in events)
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    counts: dict[object, int] = {}
    for event in [*events, *catalogue()]:
        validate(event)
        if isinstance(event, Action):
            counts[event.item_id] = counts.get(event.item_id, 0) + 1
    assert sum(sorted(counts.values())[-10:]) > 300
    assert len(counts) > 500
    assert len([event for event in catalogue() if isinstance(event, ItemEvent)]) == ITEMS
    assert [len(batch) for batch in batches(events, 2_000)] == [2_000, 1_000]


@pytest.mark.timeout(200)
def test_the_benchmarks_in_this_process_tell_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_serve, "_REQUESTS", 40)
    loop, engine = bench_loop.run(600), bench_serve.bench_engine(600)
    assert all(number > 0 for number in [*leaves(loop), *leaves(engine)])
    memory: Any = loop["memory"]
    assert memory["training_share"] < 1
    assert memory["items"] == engine["items"] == ITEMS
    score: Any = engine["score_200"]
    assert score["over_forward"] > 1
    candidates: Any = engine["candidates_per_request"]
    assert 200 < candidates <= 600


@pytest.mark.timeout(200)
def test_parts_of_a_learned_click_are_all_of_it() -> None:
    found = bench_learned_click.run(clicks(500), warm_up=250)
    whole = found.pop("all of it")
    assert {"training step", "its gradients", "features", "negatives", "interests"} < {
        part for part, spent in found.items() if spent > 0
    }
    assert 0.8 * whole < sum(found.values()) <= whole


def test_filters_find_what_they_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_filters, "_CLICKS", 1_000)
    monkeypatch.setattr(bench_filters, "_ROUNDS", 2)
    found = bench_filters.find(5_000)
    assert all(number > 0 for number in leaves({name: part for name, part in found.items() if name != "found"}))
    counts = {name: count for name, (count, _) in found["found"].items()}
    assert counts["one item"] == 1
    assert counts["no item"] == 0
    assert counts["three categories"] == 75
    assert counts["not a category"] == 4_975
    asked = bench_filters.ask(600)
    assert all(number > 0 for number in leaves(asked["slate_us"]))
    assert {name: len(items) for name, items in asked["slates"].items()}["some have it"] == 1


def test_items_are_described_read_and_mirrored_here_and_in_another_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_content, "_TEXTS", 50)
    here = bench_content.measure(2_000)
    assert all(number > 0 for name, number in here.items() if not name.endswith("bytes_per_item"))
    assert 80 < here["wire_bytes_per_item"] < 200
    both = bench_content.run({"this": ROOT, "base": ROOT}, items=2_000, turns=1)
    assert list(both) == ["this", "base", "ratio"]
    assert both["ratio"].keys() == here.keys()


def test_films_that_are_alike_are_asked_for_before_the_next_one_is_learned_from() -> None:
    genres = ["drama", "comedy"]
    log: list[Event] = [
        ItemEvent(item_id=film, timestamp=1_000_000_000_000, features={"genre": [genres[film % 2]]})
        for film in range(30)
    ]
    log += [
        Action(
            user_id=number % 7,
            item_id=(number * 11 % 15) * 2 + number % 2,
            action="rating",
            value=5.0,
            timestamp=1_000_000_000_000 + 60_000 * number,
        )
        for number in range(600)
    ]
    figures = bench_similar.measure(log)
    assert figures["similar"]["asked"] == figures["item_cosine"]["asked"] == 30
    assert all(0.0 < figures[way]["genres_shared"] <= 1.0 for way in figures)


@pytest.mark.timeout(200)
def test_a_folder_of_described_items_is_filled_and_opened_again(tmp_path: Path) -> None:
    assert all(number > 0 for number in bench_million.fill(tmp_path, 300, 60).values())
    figures = bench_million.restart(tmp_path, 300)
    parts = figures["parts_mb"]
    assert all(figures[name] > 0 for name in ("ready_seconds", "median_request_ms", "checkpoint_mb"))
    assert parts["replica.ids"] < parts["learner.ids"] / 2
    assert parts["replica.features"] < parts["learner.features"] / 2


@pytest.mark.timeout(200)
def test_answers_of_a_server_follow_what_people_do() -> None:
    """It gives up, loudly, where an answer never changes."""
    figures = bench_freshness.run(600, rounds=2)
    assert len(figures) == 2
    assert all(number > 0 for number in leaves(figures))


@pytest.mark.timeout(200)
def test_events_are_sent_to_two_checkouts_in_turns() -> None:
    cases = (bench_events.Case(1, 100, 2), bench_events.Case(2, 1, 3))
    figures = bench_events.run({"this": ROOT, "base": ROOT}, turns=1, cases=cases)
    assert list(figures) == ["1_clients_of_100", "2_clients_of_1"]
    for one in figures.values():
        assert list(one) == ["this", "base", "times_as_many", "cpu_over_base"]
        assert all(number > 0 for name in ("this", "base") for number in leaves({name: one[name]})[:4])


@pytest.mark.data
@pytest.mark.timeout(200)
def test_slates_are_asked_for_before_and_while_clicks_arrive(data_dir: Path) -> None:
    figures = bench_answering.run(data_dir / "globo_clicks.parquet", {"this": ROOT}, turns=1, count=2_000, seconds=1.0)
    assert {name.rpartition("_per_second")[0] for name in figures["this"]} >= {"learned", "8_idle", "1_learning"}
    assert all(number > 0 for number in figures["this"].values())


@pytest.mark.timeout(200)
def test_a_server_is_watched_under_half_its_load(data_dir: Path) -> None:
    found = bench_soak.run(data_dir / "globo_clicks.parquet", minutes=2, count=300, seconds=2.0)
    minutes = found["minutes"]
    assert isinstance(minutes, list)
    assert len(minutes) == 2
    for one in minutes:
        assert one["failures"] == 0
        assert one["per_second"] > 0
        assert 100 < one["memory_mb"] < 3000
    assert minutes[1]["events"] > minutes[0]["events"] > 300


def test_labels_are_joined_in_memory_and_on_disk_alike() -> None:
    figures = bench_labels.run(5_000, long=0, waiting=0)
    in_memory, on_disk = figures["in_memory"], figures["on_disk"]
    assert isinstance(in_memory, dict)
    assert isinstance(on_disk, dict)
    assert in_memory["examples"] == on_disk["examples"] > 4_000
    assert in_memory["pending_at_most"] == on_disk["pending_at_most"] > 300
    assert on_disk["disk_bytes"] > 0


@pytest.mark.timeout(200)
def test_the_table_is_measured_and_its_page_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module, name, value in (
        (bench_table, "STEP_ROWS", 6_000),
        (bench_table, "REPLICA_ROWS", 2_000),
        (table_pauses, "THREAD_SECONDS", 0.2),
        (table_sizes, "SIZES", (500_000, 1 << 60)),
        (table_sizes, "LOOKUPS", 5_000),
        (table_sizes, "UPDATES", 500),
    ):
        monkeypatch.setattr(module, name, value)
    figures = bench_table.run(0.02)
    sizes: Any = figures["sizes"]
    assert sizes.pop("left_out_for_memory") == [int(0.02 * (1 << 60))]
    assert all(number > 0 for number in leaves(figures))
    (tmp_path / "table.json").write_text(json.dumps(figures), encoding="utf-8")
    table_page.main(str(tmp_path / "table.json"), str(tmp_path))
    page = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 10,000 | **" in page
    assert "](table.svg)" in page
    assert (tmp_path / "table.svg").read_bytes().startswith(b"<?xml")
    assert json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["machine"]["cores"]


@pytest.mark.timeout(200)
def test_load_is_offered_and_its_page_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_load, "TIMES", (0.5, 4.0))
    monkeypatch.setattr(bench_load, "SATURATION_SECONDS", 0.5)
    figures: Any = bench_load.run(600, seconds=1.0, timeouts=(1.0,))
    curve = figures["timeout_seconds"]["1"]
    assert list(curve["offered"]) == ["0.5", "3", "4"]
    for one in curve["offered"].values():
        ends = one["goodput"] + one["refused"] + one["gave_up"] + one["broken"]
        assert one["per_second"] * 0.5 <= ends <= one["per_second"] * 1.001
    assert curve["offered"]["4"]["goodput"] > 0
    (tmp_path / "load.json").write_text(json.dumps(figures), encoding="utf-8")
    load_page.main(str(tmp_path / "load.json"), str(tmp_path / "load.json"), "1b4150b", str(tmp_path))
    page = (tmp_path / "load.md").read_text(encoding="utf-8")
    assert "| 0.5 | " in page
    assert "](load.svg)" in page
    assert (tmp_path / "load.svg").read_bytes().startswith(b"<?xml")
