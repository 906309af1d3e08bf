"""Feature snapshots of actions: kept for as long as they may be asked for, and no longer."""

from __future__ import annotations

from stream_reco.events import Action
from stream_reco.labels import Example
from stream_reco.learner.feature_snapshots import FeatureSnapshots

HOUR = 3_600_000
DAY = 24 * HOUR


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
