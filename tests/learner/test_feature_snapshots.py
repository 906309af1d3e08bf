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
    snapshots = FeatureSnapshots()
    snapshots.keep(_action(1), b"one")
    assert snapshots.take(_example(2)) is None
    assert snapshots.take(_example(1)) == b"one"
    assert snapshots.take(_example(1)) is None


def test_the_oldest_moments_make_room() -> None:
    snapshots = FeatureSnapshots(3)
    for number in range(5):
        snapshots.keep(_action(number), b"%d" % number)
    assert [snapshots.take(_example(number)) for number in range(5)] == [None, None, b"2", b"3", b"4"]


def test_no_moment_is_kept_of_an_action_whose_example_came_before() -> None:
    snapshots = FeatureSnapshots()
    snapshots.expect(_example(1))
    assert not snapshots.wants(_action(1))
    assert snapshots.wants(_action(2))
    snapshots.came(_action(1))
    assert len(snapshots) == 0
    assert snapshots.wants(_action(1))


def test_moments_leave_with_age_and_with_their_user() -> None:
    snapshots = FeatureSnapshots()
    for number in range(6):
        snapshots.keep(_action(number), b"x")
    snapshots.forget_before(2)
    assert len(snapshots) == 4
    snapshots.forget_user(0)
    assert [number for number in range(6) if snapshots.take(_example(number))] == [2, 4, 5]
    kept = FeatureSnapshots()
    kept.keep(_action(1), b"a")
    other = FeatureSnapshots()
    other.recall(kept.state())
    assert other.take(_example(1)) == b"a"
