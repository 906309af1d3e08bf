"""Calibration by age of label: held against sums over all impressions, in streams whose probabilities are known."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.train.live_calibration import AGES, REPORTED, LiveCalibration

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
START = 1_700_000_000_000
NEVER = -1


def stream(
    count: int, span_ms: int, chance: float, median_ms: float, rng: np.random.Generator
) -> Iterator[tuple[int, int, int]]:
    """Impressions over a span and their actions, by time: (time, when it was shown, delay or NEVER)."""
    times = np.sort(rng.integers(0, span_ms, count)) + START
    later: list[tuple[int, int, int]] = []
    for time in times.tolist():
        while later and later[0][0] <= time:
            yield heapq.heappop(later)
        yield time, time, NEVER
        if rng.random() < chance:
            delay = int(median_ms * rng.lognormal(0.0, 1.5)) + 1
            heapq.heappush(later, (time + delay, time, delay))


def watched(
    found: LiveCalibration, events: Iterator[tuple[int, int, int]], chance: float, until: int | None = None
) -> LiveCalibration:
    """A model that gives all the probability `chance` watched over these events."""
    log_odds = math.log(chance / (1.0 - chance))
    for time, shown_at, delay in events:
        if until is not None and time >= until:
            break
        if delay == NEVER:
            found.shown(np.array([time]), np.array([log_odds]))
            found.pass_time(time)
        else:
            found.labelled(shown_at, delay, 1.0)
    return found


@pytest.mark.parametrize("median", [4 * SECOND, 10 * MINUTE, 6 * HOUR])
def test_what_is_right_is_1_at_every_age_however_young_the_log(median: int) -> None:
    """After three days of a log most actions may be missing; what can be observed by now agrees all the same."""
    events = stream(3_000, 3 * DAY, 0.3, median, np.random.default_rng(1))
    found = watched(LiveCalibration(corrects=False), events, 0.3).by_age()
    # What takes longer than the oldest age that is known nobody can allow for: here, 12 % take longer than a day.
    most = 1.15 if median < HOUR else 1.35
    reported = {age: value for age, value in found.items() if age in REPORTED and age <= DAY}
    assert {HOUR, DAY} <= reported.keys()
    for age, value in reported.items():
        if age >= median / 10:  # of younger labels a handful is positive
            assert 0.85 < value < most, (age, value)


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_what_is_wrong_shows_by_how_much(times: float) -> None:
    events = stream(3_000, 2 * DAY, 0.2, 4 * SECOND, np.random.default_rng(2))
    found = watched(LiveCalibration(corrects=False), events, 0.2 * times).by_age()
    for age in (MINUTE, HOUR):
        assert found[age] == pytest.approx(times, rel=0.15)


@pytest.mark.parametrize("predicted", [0.05, 0.4])
@pytest.mark.parametrize("median", [4 * SECOND, HOUR])
def test_the_shift_makes_it_right(predicted: float, median: int) -> None:
    events = stream(3_000, 3 * DAY, 0.15, median, np.random.default_rng(3))
    found = watched(LiveCalibration(), events, predicted)
    served = 1.0 / (1.0 + math.exp(-math.log(predicted / (1.0 - predicted)) - found.shift))
    assert served == pytest.approx(0.15, rel=0.15)


def test_of_actions_that_take_long_the_share_that_has_come_is_not_taken_for_all() -> None:
    """Within the first day half of the actions is missing: without allowing for it, predictions would be halved."""
    rng = np.random.default_rng(4)
    events = list(stream(4_000, 4 * DAY, 0.3, 6 * HOUR, rng))
    found = watched(LiveCalibration(), iter(events), 0.3)
    hour = AGES.index(HOUR)
    delays = np.array([delay for *_, delay in events if delay != NEVER])
    within = (delays <= HOUR).sum() / (delays <= 4 * DAY).sum()
    assert found.come()[hour] == pytest.approx(within, rel=0.25)
    assert abs(found.shift) < 0.3


Row = tuple[int, int, float]
"""Second at which it is shown, seconds until it is acted on, log-odds."""
rows = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 900), st.floats(-4, 4)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(rows, st.sampled_from((MINUTE, 10 * MINUTE, HOUR)))
def test_in_one_cohort_it_is_predicted_times_the_share_that_has_come_over_observed(seen: list[Row], age: int) -> None:
    found = LiveCalibration(corrects=False)
    start = START // (14 * DAY) * 14 * DAY  # a cohort of every age begins
    odds = np.array([log_odds for *_, log_odds in seen])
    found.shown(np.full(len(seen), start), odds)
    for _, delay, _ in seen:
        found.labelled(start, delay * SECOND, 1.0)
    found.pass_time(start + 30 * DAY)
    within = sum(delay * SECOND <= age for _, delay, _ in seen)
    predicted = float((1.0 / (1.0 + np.exp(-odds))).sum())
    if not within:
        assert age not in found.by_age()
        return
    assert found.come()[AGES.index(age)] == pytest.approx(within / len(seen))
    assert found.by_age()[age] == pytest.approx(predicted / len(seen))


def test_an_action_that_is_taken_back_does_not_count() -> None:
    one, other = LiveCalibration(), LiveCalibration()
    for found in (one, other):
        found.shown(np.array([START]), np.array([0.0]))
        found.labelled(START, SECOND, 1.0)
    other.labelled(START, 2 * SECOND, 1.0)
    other.labelled(START, 2 * SECOND, -1.0)
    for found in (one, other):
        found.pass_time(START + 100 * DAY)
    assert one.by_age() == other.by_age()


def test_an_action_of_weight_two_counts_twice_on_both_sides() -> None:
    """Of labels with weights a model learns weighted odds; with them it is calibrated."""
    rng = np.random.default_rng(5)
    odds = 2.0 * 0.2 / 0.8
    found = LiveCalibration(corrects=False)
    for number in range(3_000):
        time = START + number * MINUTE
        found.shown(np.array([time]), np.array([math.log(odds)]))
        if rng.random() < 0.2:
            found.labelled(time, SECOND, 2.0, 1.0)
        found.pass_time(time)
    assert found.by_age()[HOUR] == pytest.approx(1.0, rel=0.12)


def test_it_goes_on_from_a_checkpoint_with_the_same_bits() -> None:
    events = list(stream(1_500, DAY, 0.3, 10 * MINUTE, np.random.default_rng(6)))
    whole = watched(LiveCalibration(MINUTE), iter(events), 0.2)
    half = watched(LiveCalibration(MINUTE), iter(events[:900]), 0.2)
    restored = LiveCalibration(MINUTE)
    restored.restore({name: np.array(part) for name, part in half.state().items()})
    watched(restored, iter(events[900:]), 0.2)
    assert restored.shift == whole.shift != 0.0
    ours, theirs = restored.state(), whole.state()
    assert {name: part.tobytes() for name, part in ours.items()} == {n: part.tobytes() for n, part in theirs.items()}


def test_it_does_not_grow_with_time() -> None:
    found = LiveCalibration()
    for day in range(400):
        found.shown(np.array([START + day * DAY]), np.array([-2.0]))
        found.pass_time(START + day * DAY)
    assert len(found.state()["cohorts"]) < 40


def test_where_the_clock_was_wrong_it_goes_on() -> None:
    found = LiveCalibration()
    found.shown(np.array([START + 400 * DAY]), np.array([0.0]))
    found.pass_time(START + 400 * DAY)
    found.turn_back(START)
    assert len(found.state()["cohorts"]) == 0
    watched(found, stream(2_000, DAY, 0.2, SECOND, np.random.default_rng(7)), 0.4)
    assert found.shift < -0.5


def test_a_prediction_that_is_not_finite_spoils_nothing() -> None:
    found = LiveCalibration()
    found.shown(np.array([START, START]), np.array([math.nan, 0.0]))
    found.labelled(START, SECOND, 1.0)
    found.pass_time(START + 100 * DAY)
    assert found.by_age()[HOUR] == pytest.approx(0.5)
    assert math.isfinite(found.shift)
