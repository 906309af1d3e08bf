"""The simulated world: what it says of itself is what it does."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from stream_reco.events import Action, Event, Impression, ItemEvent, validate
from stream_reco.simulate import Delay, World

START = 1_700_000_000_000
HOUR = 3_600_000
TIMES = st.integers(START, START + 30 * 24 * HOUR)


def history(seed: int) -> list[object]:
    world = World(seed, users=50, items=40, requests_per_second=0.5)
    seen: list[object] = list(world.item_events(None, START, vectors=True))
    for hour in range(1, 5):
        for request in world.step(START + hour * 60_000):
            user, now = request.user_id, request.timestamp
            slate = world.random_slate(user, 5, now)
            seen += [request, world.regret(user, slate, now), *world.respond(user, slate, now)]
    return seen


def test_a_seed_is_a_world() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_requests_do_not_depend_on_how_often_one_steps() -> None:
    coarse, fine = World(3, requests_per_second=2.0), World(3, requests_per_second=2.0)
    at_once = coarse.step(START + 100_000)
    stepped = [request for at in range(0, 100_001, 37) for request in fine.step(START + at)]
    stepped += fine.step(START + 100_000)
    assert stepped == at_once
    assert [request.timestamp for request in at_once] == sorted(request.timestamp for request in at_once)
    assert coarse.step(START + 100_000) == []
    assert coarse.step(START + 50_000) == []


def test_requests_come_at_the_rate_and_some_users_come_more_often() -> None:
    requests = World(5, users=100, requests_per_second=3.0).step(START + 2000_000)
    assert len(requests) == pytest.approx(6000, abs=5 * 6000**0.5)
    visits = np.bincount([request.user_id for request in requests], minlength=100)
    assert len(visits) == 100
    assert np.quantile(visits, 0.9) > 4 * np.quantile(visits, 0.1)


def test_clicks_happen_as_often_as_the_world_says_at_every_position() -> None:
    world = World(11, users=1500, items=60, position_bias=0.7)
    expected, clicks, spread = np.zeros(5), np.zeros(5), np.zeros(5)
    for user in range(1500):
        now = START + user * 1000
        slate = world.oracle_slate(user, 3, now) + world.random_slate(user, 2, now)
        if len(set(slate)) < 5:
            continue
        chances = np.array([world.click_probability(user, item, now) for item in slate]) * world.examination(5)
        assert world.expected_clicks(user, slate, now) == pytest.approx(chances.sum())
        expected, spread = expected + chances, spread + chances * (1 - chances)
        for event in world.respond(user, slate, now):
            if isinstance(event, Action) and event.action == "click":
                clicks[slate.index(int(event.item_id))] += 1
    assert np.abs((clicks - expected) / np.sqrt(spread)).max() < 4.0
    assert clicks.min() > 10


def test_positions_are_looked_at_less_and_less() -> None:
    assert World(1, position_bias=1.0).examination(4) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert World(1, position_bias=0.0).examination(3) == pytest.approx([1, 1, 1])


def test_no_slate_beats_the_oracle() -> None:
    world = World(2, users=9, items=5)
    for user in range(9):
        now = START + user * HOUR
        alive = world.oracle_slate(user, 5, now)
        best = max(world.expected_clicks(user, slate, now) for slate in permutations(alive, 3))
        assert world.expected_clicks(user, alive[:3], now) == pytest.approx(best)
        assert world.regret(user, alive[:3], now) == 0.0
        assert world.regret(user, [], now, k=3) == pytest.approx(best)


def test_personal_slates_are_worth_far_more_than_popular_and_random_ones() -> None:
    world = World(4, users=80, items=300)
    now = START + HOUR
    ids = world.random_slate(0, 300, now)
    chances = np.array([[world.click_probability(user, item, now) for item in ids] for user in range(0, 80, 4)])
    popular = [ids[i] for i in np.argsort(-chances.mean(axis=0))[:10]]
    worth = {"oracle": 0.0, "popular": 0.0, "random": 0.0}
    for user in range(0, 80, 4):
        worth["oracle"] += world.expected_clicks(user, world.oracle_slate(user, 10, now), now)
        worth["popular"] += world.expected_clicks(user, popular, now)
        worth["random"] += world.expected_clicks(user, world.random_slate(user, 10, now), now)
    assert worth["oracle"] > 1.5 * worth["popular"] > 2.5 * worth["random"]


def test_asking_changes_nothing_but_a_click_is_remembered_while_the_item_lives() -> None:
    world, other = World(6, users=20, items=30), World(6, users=20, items=30)
    now = START + HOUR
    for user in range(20):
        world.regret(user, world.random_slate(user, 9, now + 99 * HOUR), now + 99 * HOUR)
        slate = world.oracle_slate(user, 10, now)
        assert slate == other.oracle_slate(user, 10, now)
        before = {item: world.click_probability(user, item, now) for item in slate}
        clicked = {event.item_id for event in world.respond(user, slate, now) if isinstance(event, Action)}
        for item in slate:
            assert world.click_probability(user, item, now) == (0.0 if item in clicked else before[item])
        assert not clicked & set(world.oracle_slate(user, 30 - len(clicked), now))


def test_items_that_are_not_alive_twice_in_a_slate_or_unknown_are_worth_nothing() -> None:
    world = World(8, users=3, items=10)
    best = world.oracle_slate(1, 1, START)[0]
    alone = world.click_probability(1, best, START)
    assert 0 < alone < 1
    for stranger in (-1, best + 10, 2**62, "7", str(best)):
        assert world.click_probability(1, stranger, START) == 0.0
    assert world.expected_clicks(1, [best, best, "x"], START) == pytest.approx(alone)
    later = START + 1000 * HOUR
    assert world.click_probability(1, best, later) == 0.0
    assert all(isinstance(event, Impression) for event in world.respond(1, [best, "x"], later))


@settings(max_examples=25, deadline=None)
@given(since=TIMES, until=TIMES)
def test_births_and_deaths_lead_from_one_catalogue_to_the_next(since: int, until: int) -> None:
    world = World(9, users=2, items=12)
    since, until = min(since, until), max(since, until)
    alive = {event.item_id for event in announced(world.item_events(None, since))}
    ever = set(alive)
    changes = announced(world.item_events(since, until))
    assert [event.timestamp for event in changes] == sorted(event.timestamp for event in changes)
    for event in changes:
        assert since < event.timestamp <= until
        if event.available:
            assert event.item_id not in ever
            ever.add(event.item_id)
            alive.add(event.item_id)
            assert world.click_probability(0, event.item_id, event.timestamp - 1) == 0.0
            assert world.click_probability(0, event.item_id, event.timestamp) > 0.0
        else:
            alive.remove(event.item_id)
            assert world.click_probability(0, event.item_id, event.timestamp - 1) > 0.0
            assert world.click_probability(0, event.item_id, event.timestamp) == 0.0
    assert alive == {event.item_id for event in announced(world.item_events(None, until))}
    assert len(alive) == 12


def announced(events: list[Event]) -> list[ItemEvent]:
    found = [event for event in events if isinstance(event, ItemEvent)]
    assert len(found) == len(events)
    return found


def test_tastes_drift_little_in_a_minute_and_far_in_some_lives() -> None:
    world = World(10, users=60, items=200, interest_life_ms=24 * HOUR, item_life_ms=10**6 * HOUR)
    now = START + HOUR

    def shared(hours: float) -> float:
        later = now + int(hours * HOUR)
        return float(
            np.mean(
                [len({*world.oracle_slate(u, 10, now)} & {*world.oracle_slate(u, 10, later)}) / 10 for u in range(60)]
            )
        )

    assert shared(1 / 60) > 0.97
    assert shared(1) > shared(12) > shared(96)
    assert shared(96) < 0.5


def test_tastes_never_jump() -> None:
    world = World(16, users=1, items=8, interests=1, interest_life_ms=HOUR, item_life_ms=10**6 * HOUR)
    items = world.random_slate(0, 8, START)
    path = np.array([[world.click_probability(0, item, START + at * 36_000) for item in items] for at in range(400)])
    steps = np.abs(np.diff(path, axis=0)).max(axis=1)
    assert path.std(axis=0).max() > 0.05
    assert steps.max() < 0.1
    assert (steps > 0).all()


def test_users_have_several_interests() -> None:
    world = World(12, users=40, items=400, topics=20)
    topics = {event.item_id: event.features["topic"] for event in announced(world.item_events(None, START))}
    of_users = [{str(topics[item]) for item in world.oracle_slate(user, 20, START)} for user in range(40)]
    assert np.mean([len(found) >= 2 for found in of_users]) > 0.5
    assert len(set.union(*of_users)) > 8


def test_delays_have_the_median_and_the_limit_that_were_asked_for() -> None:
    delay = Delay(median_ms=5000, sigma=1.0, most_ms=60_000)
    rng = np.random.default_rng(1)
    drawn = [delay.draw(rng) for _ in range(5000)]
    assert np.median(drawn) == pytest.approx(5000, rel=0.06)
    assert min(drawn) >= 1
    assert max(drawn) == 60_000
    for median, sigma, most in ((0.0, 1.0, 10), (1.0, -1.0, 10), (1.0, 1.0, 0)):
        with pytest.raises(ValueError, match="median"):
            Delay(median, sigma, most)


def test_responses_are_valid_events_that_belong_to_their_request() -> None:
    later = Delay(median_ms=1000, sigma=0.5, most_ms=9000)
    world = World(13, users=100, items=50, click_delay=later, purchase_rate=1.0, purchase_delay=later)
    actions = 0
    for user in range(100):
        slate = world.oracle_slate(user, 5, START)
        events = world.respond(
            user, slate, START, request_id=f"r{user}", propensities=[0.5] * 5, context={"device": "tv"}
        )
        assert [(e.item_id, e.position, e.propensity) for e in events if isinstance(e, Impression)] == [
            (item, place, 0.5) for place, item in enumerate(slate, start=1)
        ]
        assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
        assert len({event.event_id for event in events}) == len(events)
        for event in events:
            validate(event)
            assert isinstance(event, Impression | Action)
            assert event.request_id == f"r{user}"
        clicks = {e.item_id: e.timestamp for e in events if isinstance(e, Action) and e.action == "click"}
        purchases = {e.item_id: e.timestamp for e in events if isinstance(e, Action) and e.action == "purchase"}
        assert clicks.keys() == purchases.keys()
        assert all(START < at <= START + 9000 for at in clicks.values())
        assert all(clicks[item] < at <= clicks[item] + 9000 for item, at in purchases.items())
        actions += len(clicks)
    assert actions > 50


def test_announcements_are_valid_and_tell_topics_but_no_secrets() -> None:
    world = World(14, users=5, items=6)
    plain, full = world.item_events(None, START), world.item_events(None, START, vectors=True)
    for event in [*plain, *full]:
        validate(event)
    assert all(event.vector is UNSET and set(event.features) == {"topic"} for event in announced(plain))
    assert [np.linalg.norm(event.vector or []) for event in announced(full)] == pytest.approx([1.0] * 6)


def test_what_the_world_does_not_have_is_named() -> None:
    world = World(15, users=5)
    with pytest.raises(ValueError, match="users 0 to 4"):
        world.click_probability(5, 1, START)
    with pytest.raises(ValueError, match="starts at"):
        world.oracle_slate(1, 3, START - 1)
    with pytest.raises(ValueError, match="at least one"):
        World(1, items=0)
    with pytest.raises(ValueError, match="rates"):
        World(1, purchase_rate=1.5)
