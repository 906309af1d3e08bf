"""Trends against a plain sort."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.counters import count_action, count_shown, empty_counters
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.signals.trends import Trends, find_trends, no_trends
from tests.signals.reference_signals import ACTIONS, DAY, HOUR, decayed

START = 1_600_000_000_000
WIDTH, FRESH = 4, 3


def slots(array: np.ndarray[tuple[int], np.dtype[np.int32]]) -> list[int]:
    """The listed slots; checks that −1 stands behind the last only."""
    listed: list[int] = array.tolist()
    known = [slot for slot in listed if slot >= 0]
    assert listed == known + [-1] * (len(listed) - len(known))
    return known


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3 * HOUR)), max_size=40),
    st.lists(st.booleans(), min_size=10, max_size=10),
    st.integers(0, 2 * DAY),
    st.integers(0, 12),
    st.lists(st.integers(0, 9), max_size=12),
)
def test_trends_are_a_sort(
    events: list[tuple[int, int]], available: list[bool], later: int, size: int, shown: list[int]
) -> None:
    counters, now = empty_counters(12), START + 3 * HOUR + later
    acted: dict[int, list[tuple[int, float]]] = {}
    for slot, offset in sorted(events, key=lambda event: event[1]):
        count_action(counters, slot, START + offset)
        acted.setdefault(slot, []).append((START + offset, 1.0))
    for slot in shown:
        count_shown(counters, slot, START + 3 * HOUR)
    flags = np.array([*available, False, False])
    trends = find_trends(counters, flags, size, now, WIDTH, FRESH)
    may_be_shown = [slot for slot in range(min(size, 10)) if available[slot]]
    acted = {slot: times for slot, times in acted.items() if slot in may_be_shown}
    for kind, half_life in enumerate(ACTIONS):
        wanted = {slot: decayed(times, half_life, now) for slot, times in acted.items()}
        got = slots(trends.trending[kind])
        visible = {slot: value for slot, value in wanted.items() if value > 1e-37}
        assert set(got) <= set(wanted)
        assert len(got) >= min(WIDTH, len(visible))
        values = [wanted[slot] for slot in got]
        assert values == pytest.approx(sorted(wanted.values(), reverse=True)[: len(got)], rel=1e-6)
    born = dict.fromkeys(shown, START + 3 * HOUR) | {slot: times[0][0] for slot, times in acted.items()}
    least = sorted(may_be_shown, key=lambda slot: (shown.count(slot), -born.get(slot, -1), slot))[:FRESH]
    assert slots(trends.fresh) == least
    activity = {slot: decayed(times, DAY, now) for slot, times in acted.items()}
    active = sorted(slot for slot, value in activity.items() if value > 1e-3)
    assert trends.active.tolist() == active
    roots = [math.sqrt(activity[slot]) for slot in active]
    np.testing.assert_allclose(trends.cumulative, np.cumsum(roots), rtol=1e-6)
    chances = np.zeros(size)
    chances[active] = np.array(roots) / (sum(roots) or 1.0)
    np.testing.assert_allclose(trends.chances, chances, rtol=1e-5)


def test_ties_go_by_slot() -> None:
    counters = empty_counters(40)
    for slot in reversed(range(30)):
        count_action(counters, slot, START)
    trends = find_trends(counters, np.ones(40, dtype=np.bool_), 30, START, WIDTH, FRESH)
    assert trends.trending.tolist() == [[0, 1, 2, 3]] * len(ACTIONS)
    assert trends.fresh.tolist() == [0, 1, 2]


def test_nothing_trends_before_the_first_event() -> None:
    blank = no_trends(WIDTH, FRESH)
    for trends in (blank, find_trends(empty_counters(5), np.ones(5, dtype=np.bool_), 0, START, WIDTH, FRESH)):
        assert (trends.trending == -1).all()
        assert not len(trends.active)
    assert Trends._fields == blank._fields


def test_trends_are_renewed_after_the_set_time_and_never_backwards() -> None:
    signals = Signals(SignalSettings(refresh_seconds=15.0))
    signals.describe("a", Statement(START, {}, True))
    signals.refresh(START)
    assert signals.trends.fresh[0] == 0
    signals.describe("b", Statement(START + 1, {}, True))
    for now in (START + 14_999, START - DAY):
        signals.refresh(now)
        assert signals.trends.fresh[1] == -1
    signals.refresh(START + 15_000)
    assert signals.trends.fresh[1] >= 0
