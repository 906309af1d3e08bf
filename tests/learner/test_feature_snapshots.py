"""Ids of events and moments of actions: kept for as long as they may be asked for, and no longer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Id
from stream_reco.labels import Example
from stream_reco.learner.event_deduplication import SeenIds
from stream_reco.learner.feature_snapshots import FeatureSnapshots

HOUR = 3_600_000
DAY = 24 * HOUR
ids = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.text("ab", min_size=1, max_size=2))


@settings(max_examples=100, deadline=None)
@given(came=st.lists(st.tuples(ids, st.integers(0, 5 * HOUR)), max_size=200), cut=st.integers(0, 200))
def test_an_id_is_known_for_a_day_at_least_and_for_less_than_two(came: list[tuple[Id, int]], cut: int) -> None:
    seen, last, now = SeenIds(), dict[Id, int](), 0
    for at, (event_id, passed) in enumerate(came):
        now += passed
        if at == cut:
            seen = SeenIds.from_state(seen.state())
        new = seen.add(event_id, now)
        # 0 and 1 share a key: nobody counts in such ids and repeats them within a day.
        if event_id in (0, 1):
            continue
        age = now - last[event_id] if event_id in last else 2 * DAY
        assert not new or age > DAY
        assert new or age < 2 * DAY
        if new:
            last[event_id] = now


def test_many_ids_are_all_known() -> None:
    seen = SeenIds()
    assert all(seen.add(f"e{number}", number) for number in range(20_000))
    assert not any(seen.add(f"e{number}", 20_000) for number in range(20_000))
    assert len(seen) == 20_000
    assert seen.add("late", 5 * DAY)
    assert len(seen) == 1


def _action(number: int) -> Action:
    return Action(user_id=number % 3, item_id="i", action="click", timestamp=number)


def _example(number: int) -> Example:
    return Example(
        user_id=number % 3,
        item_id="i",
        label=1,
        weight=1.0,
        reason="unprompted",
        event_time=number,
        label_time=number,
        action="click",
    )


def test_a_moment_is_given_once() -> None:
    moments = FeatureSnapshots()
    moments.keep(_action(1), b"one")
    assert moments.take(_example(2)) is None
    assert moments.take(_example(1)) == b"one"
    assert moments.take(_example(1)) is None


def test_the_oldest_moments_make_room() -> None:
    moments = FeatureSnapshots(3)
    for number in range(5):
        moments.keep(_action(number), b"%d" % number)
    assert [moments.take(_example(number)) for number in range(5)] == [None, None, b"2", b"3", b"4"]


def test_no_moment_is_kept_of_an_action_whose_example_came_before() -> None:
    moments = FeatureSnapshots()
    moments.expect(_example(1))
    assert not moments.wants(_action(1))
    assert moments.wants(_action(2))
    moments.came(_action(1))
    assert len(moments) == 0
    assert moments.wants(_action(1))


def test_moments_leave_with_age_and_with_their_user() -> None:
    moments = FeatureSnapshots()
    for number in range(6):
        moments.keep(_action(number), b"x")
    moments.forget_before(2)
    assert len(moments) == 4
    moments.forget_user(0)
    assert [number for number in range(6) if moments.take(_example(number))] == [2, 4, 5]
    kept = FeatureSnapshots()
    kept.keep(_action(1), b"a")
    other = FeatureSnapshots()
    other.recall(kept.state())
    assert other.take(_example(1)) == b"a"
