"""The benchmarks of the loop, on next to nothing: that they run and measure what they say."""

from __future__ import annotations

from typing import Any

import pytest

from stream_reco.events import Action, ItemEvent, validate
from tests.bench import bench_freshness, bench_labels, bench_loop, bench_serve
from tests.bench.busy_shop import ITEMS, USERS, batches, catalogue, clicks


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
def test_answers_of_a_server_follow_what_people_do() -> None:
    """It gives up, loudly, where an answer never changes."""
    figures = bench_freshness.run(600, rounds=2)
    assert len(figures) == 2
    assert all(number > 0 for number in leaves(figures))


def test_labels_are_joined_in_memory_and_on_disk_alike() -> None:
    figures = bench_labels.run(5_000, long=0, waiting=0)
    in_memory, on_disk = figures["in_memory"], figures["on_disk"]
    assert isinstance(in_memory, dict)
    assert isinstance(on_disk, dict)
    assert in_memory["examples"] == on_disk["examples"] > 4_000
    assert in_memory["pending_at_most"] == on_disk["pending_at_most"] > 300
    assert on_disk["disk_bytes"] > 0
