"""Active time against a walk through all events, and what silences, late events and runaway clocks do to it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.signals import active_time
from stream_reco.signals.active_time import ActiveTime, ActiveTimeState
from stream_reco.signals.settings import DAY_MS, HOUR_MS

START = 1_500_000_000_000
STEPS = st.lists(
    st.sampled_from([1, 1000, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, 5 * HOUR_MS, 40 * DAY_MS, -HOUR_MS, -60 * DAY_MS]),
    max_size=30,
)


def age_by_walking(times: list[int], stamp: int, now: int) -> int:
    """Active time from `stamp` to `now` by the definition: every gap between two events counts an hour at most."""
    reached = [times[0]]
    for time in times:
        if time > reached[-1]:
            reached.append(time)
    age = 0
    for begin, end in zip(reached, [*reached[1:], max(now, reached[-1])], strict=True):
        counted_until = min(end, begin + HOUR_MS)
        age += max(0, min(counted_until, now) - max(begin, stamp))
    return age


@given(STEPS, st.lists(st.integers(-100 * DAY_MS, 400 * DAY_MS), min_size=1, max_size=8), st.integers(0, 30 * DAY_MS))
def test_what_is_older_than_a_span_is_what_a_walk_through_the_events_says(
    steps: list[int], after: list[int], ahead: int
) -> None:
    active, times = ActiveTime(), [START]
    for step in steps:
        times.append(times[-1] + step)
    for time in times:
        active.reach(time)
    now = max(times) + ahead % (2 * HOUR_MS)
    for stamp in [*times, *(START + offset for offset in after)]:
        for span in (0, HOUR_MS, 3 * HOUR_MS, DAY_MS, 90 * DAY_MS):
            wanted = age_by_walking(times, stamp, now) > span
            assert (stamp < active.earliest(now, span)) == wanted


@given(STEPS, STEPS)
def test_it_goes_on_from_its_state_as_it_was(before: list[int], after: list[int]) -> None:
    active, time = ActiveTime(), START
    for step in before:
        time += step
        active.reach(time)
    data = msgspec.msgpack.encode(active.state())
    again = ActiveTime()
    again.restore(msgspec.msgpack.decode(data, type=ActiveTimeState), time)
    for step in after:
        time += step
        active.reach(time)
        again.reach(time)
    assert again.state() == active.state()
    assert again.earliest(time, DAY_MS) == active.earliest(time, DAY_MS)


def test_a_checkpoint_without_it_counts_what_was_before_and_the_next_gap_as_an_hour() -> None:
    active = ActiveTime()
    active.restore(None, START)
    assert active.earliest(START, DAY_MS) == START - DAY_MS
    active.reach(START + 200 * DAY_MS)
    assert active.earliest(START + 200 * DAY_MS, DAY_MS) == START - DAY_MS + HOUR_MS


def test_without_any_event_all_of_stream_time_counts() -> None:
    assert ActiveTime().earliest(START, DAY_MS) == START - DAY_MS


def test_many_silences_are_bounded_and_never_make_anything_older(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, joined = ActiveTime(), ActiveTime()
    for active, most in ((exact, 10_000), (joined, 5)):
        monkeypatch.setattr(active_time, "_MOST_SILENCES", most)
        for number in range(200):
            active.reach(START + number * (3 + number % 5) * HOUR_MS)
    assert len(joined.state()[2]) == 5
    now = exact.state()[1]
    assert joined.earliest(now, 3 * HOUR_MS) == exact.earliest(now, 3 * HOUR_MS)
    for hours in range(200):
        assert joined.earliest(now, hours * HOUR_MS) <= exact.earliest(now, hours * HOUR_MS)


def test_turned_back_it_counts_from_there_on() -> None:
    active = ActiveTime()
    active.reach(START)
    active.reach(START + 400 * DAY_MS)
    active.turn_back(START + 2 * DAY_MS)
    assert active.state() == (START, START + 2 * DAY_MS, [(START + HOUR_MS, START + 2 * DAY_MS)])
    active.reach(START + 2 * DAY_MS + 1000)
    assert active.earliest(START + 2 * DAY_MS + 1000, HOUR_MS) == START + 1000
