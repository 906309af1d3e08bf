"""Trends against a plain sort."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.counters import (
    Counters,
    clear_counters,
    count_action,
    count_shown,
    empty_counters,
    uncount_action,
)
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.signals.trends import TrendFinder, Trends, no_trends
from tests.signals.reference_signals import ACTIONS, DAY, HOUR, decayed

START = 1_600_000_000_000
WIDTH, FRESH = 4, 3


def find_trends(
    counters: Counters, available: np.ndarray[tuple[int], np.dtype[np.bool_]], size: int, now: int
) -> Trends:
    """Found anew."""
    return TrendFinder(WIDTH, FRESH).find(counters, available, size, now, np.zeros(len(available), dtype=np.bool_))


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
    trends = find_trends(counters, flags, size, now)
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
    trends = find_trends(counters, np.ones(40, dtype=np.bool_), 30, START)
    assert trends.trending.tolist() == [[0, 1, 2, 3]] * len(ACTIONS)
    assert trends.fresh.tolist() == [0, 1, 2]


def test_nothing_trends_before_the_first_event() -> None:
    blank = no_trends(WIDTH, FRESH)
    for trends in (blank, find_trends(empty_counters(5), np.ones(5, dtype=np.bool_), 0, START)):
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


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["act", "show", "undo", "hide", "offer", "renew", "forget", "grow"]),
        st.integers(0, 59),
        st.sampled_from([0, 1, HOUR, 2 * DAY, 30 * DAY, -HOUR]),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 60))
def test_what_changed_alone_gives_what_all_gives(steps: list[tuple[str, int, int]], size: int) -> None:
    """Also where lists run short, where nothing is left of an item, and where time runs backwards."""
    counters, available, now = empty_counters(60), np.ones(60, dtype=np.bool_), START
    finder, changed = TrendFinder(WIDTH, FRESH), np.zeros(60, dtype=np.bool_)
    for step, slot, gap in steps:
        slot, now = slot % size, now + gap
        if step == "act":
            count_action(counters, slot, now)
        elif step == "show":
            count_shown(counters, slot, now)
        elif step == "undo":
            uncount_action(counters, slot, now)
        elif step in ("hide", "offer"):
            available[slot] = step == "offer"
        elif step == "forget":
            clear_counters(counters, np.array([slot], dtype=np.int32))
        elif step == "grow" and size < 60:
            slot, size = size, size + 1
        changed[slot] |= step != "renew"
        if step == "renew":
            found, anew = (
                one.find(counters, available, size, now, changed) for one in (finder, TrendFinder(WIDTH, FRESH))
            )
            changed[:] = False
            for name, one, other in zip(Trends._fields, found, anew, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_change_costs_no_look_at_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    size, every = 5_000, TrendFinder(WIDTH, FRESH)
    counters, available, changed = empty_counters(size), np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    every.find(counters, available, size, START, changed)
    monkeypatch.setattr("stream_reco.signals.trends._counted", None)
    monkeypatch.setattr("stream_reco.signals.trends._fill_fresh", None)
    # One item after the other is shown and acted on; of all lists only that of the least shown has any to lose.
    for slot in range(3 * FRESH):
        count_shown(counters, slot, START + slot)
        count_action(counters, slot, START + slot)
        changed[:] = False
        changed[slot] = True
        found = every.find(counters, available, size, START + slot, changed)
        assert found.active.tolist() == list(range(slot + 1))
        assert slots(found.trending[0]) == list(range(slot, -1, -1))[:WIDTH]
