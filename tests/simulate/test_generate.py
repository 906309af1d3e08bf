"""Generated streams: deterministic, as messy as asked for and no messier."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stream_reco.events import Action, Event, Impression, validate
from stream_reco.simulate import generate

DAY = 24 * 3_600_000


def stream(n: int = 6000, seed: int = 1, **options: Any) -> list[Event]:
    return list(generate(n, seed, **options))


def test_the_same_arguments_give_the_same_events() -> None:
    assert stream(500) == stream(500)
    assert stream(500) == stream(900)[:500]
    assert stream(500) != stream(500, seed=2)
    assert len(stream(500)) == 500
    assert stream(0) == []


def test_without_disorder_events_come_in_order_and_once() -> None:
    events = stream()
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    assert len({event.event_id for event in events}) == len(events)


def test_every_action_has_its_impression_before_it_and_is_late_as_asked_for() -> None:
    events = stream(15_000, late_days=0.5)
    shown: dict[tuple[object, object], Impression] = {}
    kinds: Counter[str] = Counter()
    latest = 0
    for event in events:
        validate(event)
        if isinstance(event, Impression):
            shown[event.request_id, event.item_id] = event
            assert event.propensity == 0.01
        elif isinstance(event, Action):
            impression = shown[event.request_id, event.item_id]
            assert impression.user_id == event.user_id
            assert event.timestamp > impression.timestamp
            latest = max(latest, event.timestamp - impression.timestamp)
            kinds[event.action] += 1
    assert kinds["click"] > 5 * kinds["purchase"] > 20
    assert 0.1 * DAY < latest <= 0.5 * DAY + 3_600_000


def test_disorder_is_bounded_and_duplicates_are_exact_copies() -> None:
    events = stream(12_000, disorder_ms=600_000, duplicate_rate=0.1)
    newest, latest = 0, 0
    for event in events:
        newest = max(newest, event.timestamp)
        latest = max(latest, newest - event.timestamp)
    assert 300_000 < latest <= 600_000
    copies = Counter(event.event_id for event in events)
    assert set(copies.values()) == {1, 2}
    assert sum(count == 2 for count in copies.values()) == pytest.approx(len(copies) * 0.1, rel=0.2)
    assert len(set(map(repr, events))) == len(copies)


@pytest.mark.parametrize(
    "options",
    [
        {"slate": 0},
        {"disorder_ms": -1},
        {"duplicate_rate": 1.1},
        {"late_days": 0},
        {"requests_per_second": 0},
    ],
)
def test_impossible_streams_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give|above 0"):
        generate(10, 1, **options)
