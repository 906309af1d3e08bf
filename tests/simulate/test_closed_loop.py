"""The closed-loop worlds: what they say of themselves is what they do, and how hard they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from stream_reco.events import Action, Event, Impression, ItemEvent, UserEvent, validate
from stream_reco.simulate.closed_loop import ClosedLoopWorld, WorldPlan
from stream_reco.simulate.closed_loop_worlds import JOBS, NEWS, SHOP, WORLD_PLANS

PLANS = list(WORLD_PLANS.values())
K = 10


def named(plan: WorldPlan) -> str:
    return plan.name


def lived(plan: WorldPlan, seed: int = 3, requests: int = 30) -> list[Event]:
    """Everything that happens while random slates are shown."""
    world = ClosedLoopWorld(plan, seed)
    events = [*world.item_events(None, world.start_ms), *world.user_events(world.start_ms)]
    for visit in world.visits(requests):
        slate = world.random_slate(visit.user_id, K, visit.timestamp)
        events += world.respond(visit.user_id, slate, visit.timestamp)
    return events


@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_a_seed_is_a_world_whose_events_are_sound(plan: WorldPlan) -> None:
    events = lived(plan)
    assert events == lived(plan)
    assert events != lived(plan, seed=4)
    for event in events:
        validate(event)
    ids = [event.event_id for event in events]
    assert len(set(ids)) == len(ids)


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    world, again = ClosedLoopWorld(SHOP, 1), ClosedLoopWorld(SHOP, 1)
    visits = list(again.visits(700))
    assert list(world.visits(300)) == visits[:300]
    assert [visit.timestamp for visit in visits] == sorted(visit.timestamp for visit in visits)
    spans = ClosedLoopWorld(SHOP, 1)
    last = list(spans.visits(SHOP.requests))[-1].timestamp
    assert last - spans.start_ms == pytest.approx(SHOP.length_ms, rel=0.1)


def test_items_and_people_say_what_they_are_of() -> None:
    events = lived(SHOP)
    categories = {event.item_id: event.features["category"] for event in events if isinstance(event, ItemEvent)}
    assert len(categories) == SHOP.items
    assert set(categories.values()) == {f"category-{number}" for number in range(SHOP.topics)}
    tastes = {event.user_id: event.features["tastes"] for event in events if isinstance(event, UserEvent)}
    assert len(tastes) == SHOP.users
    for declared in tastes.values():
        assert isinstance(declared, list)
        assert 1 <= len(declared) <= 2
        assert set(declared) <= set(categories.values())


def test_declared_tastes_are_what_is_liked_and_they_drift() -> None:
    world = ClosedLoopWorld(SHOP, 5)
    start, end = world.start_ms, world.start_ms + SHOP.length_ms
    declared = {event.user_id: event for event in world.user_events(start) if isinstance(event, UserEvent)}
    items = {event.item_id: event for event in world.item_events(None, start) if isinstance(event, ItemEvent)}
    liked: list[float] = []
    others: list[float] = []
    for user, event in list(declared.items())[:20]:
        tastes = event.features["tastes"]
        assert isinstance(tastes, list)
        for item, described in list(items.items())[:60]:
            chance = world.click_probability(int(user), item, start)
            (liked if described.features["category"] in tastes else others).append(chance)
    assert np.mean(liked) > 8 * np.mean(others)
    moved = world.user_events(end)
    assert 0.1 * SHOP.users < len(moved) < 0.7 * SHOP.users
    assert world.user_events(end) == []


@pytest.mark.parametrize("plan", [SHOP, NEWS], ids=named)
def test_a_tenth_of_the_shop_is_renewed_in_each_tenth(plan: WorldPlan) -> None:
    world = ClosedLoopWorld(plan, 2)
    tenth, total = plan.length_ms // 10, 0
    for number in range(10):
        since = world.start_ms + number * tenth
        changes = [event for event in world.item_events(since, since + tenth) if isinstance(event, ItemEvent)]
        born = sum(event.available is not False for event in changes)
        assert born == len(changes) - born == pytest.approx(0.11 * plan.items / plan.item_life, rel=0.5)
        total += born
    # The mean of 1 / life, where lives lie evenly between half and one and a half of the mean, is ln 3.
    assert total == pytest.approx(np.log(3) * plan.items / plan.item_life, rel=0.1)
    births = world.births(world.start_ms + plan.length_ms)
    assert sum(at > world.start_ms for at in births.values()) == len(births) - plan.items


def test_people_respond_as_often_as_the_world_says_once_each_and_later() -> None:
    world = ClosedLoopWorld(replace(SHOP, dislike_rate=0.2), 7)
    expected, responded, kinds = 0.0, set[tuple[object, object]](), Counter[str]()
    delays = []
    for visit in world.visits(800):
        user, now = visit.user_id, visit.timestamp
        slate = world.oracle_slate(user, 5, now) + world.random_slate(user, 5, now)
        expected += world.expected_clicks(user, slate, now)
        for event in world.respond(user, slate, now):
            if isinstance(event, Impression):
                assert event.timestamp == now
                continue
            assert isinstance(event, Action)
            kinds[event.action] += 1
            delays.append(event.timestamp - now)
            if event.action in ("click", "dislike"):
                assert (user, event.item_id) not in responded
                responded.add((user, event.item_id))
                assert world.click_probability(user, event.item_id, now) == 0.0
    assert set(kinds) == {"click", "dislike", "buy"}
    assert kinds["click"] == pytest.approx(expected, abs=5 * expected**0.5)
    assert kinds["buy"] == pytest.approx(0.1 * kinds["click"], rel=0.4)
    assert min(delays) > 0
    assert max(delays) > 600_000


def test_what_does_not_suit_is_disliked() -> None:
    world = ClosedLoopWorld(replace(SHOP, dislike_rate=1.0, position_bias=0.0), 9)
    best, chance = Counter[str](), Counter[str]()
    for visit in world.visits(200):
        user, now = visit.user_id, visit.timestamp
        for slate, count in ((world.oracle_slate(user, 3, now), best), (world.random_slate(user, 3, now), chance)):
            count.update(event.action for event in world.respond(user, slate, now) if isinstance(event, Action))
    assert chance["dislike"] > 3 * best["dislike"]


LIMITS = {"shop": (0.025, 0.042, 0.2, 0.3), "news": (0.02, 0.036, 0.19, 0.28), "jobs": (0.012, 0.028, 0.12, 0.23)}
"""Click-through of random slates and of the best, at least and at most, as nobody has clicked yet."""


@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_the_worlds_are_as_hard_as_they_are_said_to_be(plan: WorldPlan) -> None:
    by_chance, best = [], []
    world = ClosedLoopWorld(plan, 0)
    for number, visit in enumerate(world.visits(plan.requests)):
        if number % 40 == 0:
            user, now = visit.user_id, visit.timestamp
            by_chance.append(world.expected_clicks(user, world.random_slate(user, K, now), now) / K)
            best.append(world.expected_clicks(user, world.oracle_slate(user, K, now), now) / K)
    least, most, least_best, most_best = LIMITS[plan.name]
    assert least < np.mean(by_chance) < most
    assert least_best < np.mean(best) < most_best


def test_the_jobs_are_slow() -> None:
    assert JOBS.length_ms == 10 * 24 * 3_600_000
    assert JOBS.second.kind == "apply"
