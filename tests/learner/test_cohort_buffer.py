"""Positives are learned from at the age at which the negatives of the same impressions are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_reco.config import Settings
from stream_reco.labels import Example, LabelSettings
from stream_reco.learner.cohort_buffer import CohortBuffer
from stream_reco.train.settings import TrainSettings
from tests.learner.two_streams import Labelling, feed, learner_of, shown_and_clicked, woven

T = 1_700_000_000_000


def example(number: int, time: int, reason: str = "action", label_time: int = 0) -> Example:
    return Example(
        user_id=number % 3,
        item_id=number,
        request_id=f"r{number}",
        label=int(reason == "action"),
        weight=1.0,
        reason=reason,
        event_time=time,
        label_time=label_time or time + 1,
    )


def waiting(ms: int) -> CohortBuffer:
    buffer = CohortBuffer()
    assert not buffer.holds(example(99, T - ms, "immediate", T), T)
    return buffer


def test_a_positive_waits_until_its_like_are_presumed() -> None:
    buffer = waiting(1_000)
    assert buffer.holds(example(1, T), T + 10)
    assert not buffer.holds(example(2, T - 1_000), T), "they are presumed already"
    assert not buffer.holds(example(3, T, "window"), T)
    assert not buffer.holds(example(4, T, "unprompted"), T)
    assert buffer.due(T + 999) == []
    assert [one.item_id for one in buffer.due(T + 1_000)] == [1]
    assert len(buffer) == 0


def test_where_nothing_is_presumed_nothing_is_held() -> None:
    assert not CohortBuffer().holds(example(1, T), T)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3_000)), max_size=30), st.integers(0, 6_000))
def test_it_is_a_list_sorted_by_time_and_its_state_all_there_is(steps: list[tuple[int, int]], ask: int) -> None:
    buffer, plain, wait = CohortBuffer(), list[tuple[int, int]](), 0
    for number, (at, new_wait) in enumerate(steps):
        if number % 4 == 0:
            wait = new_wait
            buffer.holds(example(number, T, "immediate", T + wait), T)
        elif buffer.holds(example(number, T + at), T + 500):
            plain.append((at + wait, number))
        assert (len(plain) > 0) == (len(buffer) > 0)
    other = CohortBuffer()
    other.recall(buffer.state())
    expected = [number for due, number in sorted(plain) if due <= ask]
    assert [one.item_id for one in buffer.due(T + ask)] == expected
    assert [one.item_id for one in other.due(T + ask)] == expected


def test_a_user_is_forgotten_and_a_wrong_clock_turned_back() -> None:
    buffer = waiting(1_000)
    for number in range(6):
        assert buffer.holds(example(number, T + 10**9), T)
    buffer.forget_user(1)
    assert len(buffer) == 4
    buffer.turn_back(T)
    assert {(one.event_time, one.label_time) for one in buffer.due(T + 1_000)} == {(T, T)}


def test_each_example_of_a_stream_is_learned_from_once() -> None:
    settings = Settings(
        labels=LabelSettings(lateness_seconds=1.0), training=TrainSettings(batch=100_000, wait_seconds=1e9)
    )
    log = shown_and_clicked(400)
    labelling = Labelling(settings)
    made = [one for event in log for one in labelling.take(event)] + labelling.finish()
    learner = learner_of(settings)
    feed(learner, woven(log, settings, 0))
    assert len(learner.queue.cohorts) > 0
    learner.queue.release(1 << 62, learner.now)
    learned = [(one.label, one.shown_at) for one in learner.queue.waiting]
    assert sorted(learned) == sorted((one.label, one.event_time) for one in map(replace, made) if one.weight > 0)
