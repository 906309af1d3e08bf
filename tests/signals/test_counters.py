"""Counters against Σ 2^(−age / half-life) and buckets counted by hand, in any order of arrival."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.counters import (
    BY_NUMBER,
    BY_SLOT,
    DECAY_RATES,
    clear_counters,
    count_action,
    count_shown,
    empty_counters,
    grown_counters,
    put_counters,
    take_counters,
    windowed,
    with_spare_numbers,
)
from stream_reco.signals.counts import empty_counts, put_counts, take_counts
from stream_reco.signals.observe import DecayedTotals, add_to_tally, tallied
from stream_reco.signals.settings import SignalSettings
from tests.signals.reference_signals import ACTIONS, DAY, HOUR, MINUTE, SHOWN, WINDOWS, decayed
from tests.signals.reference_signals import windowed as expected_window

START = 1_600_000_000_000
OFFSETS = st.one_of(
    st.integers(0, 10 * DAY), st.sampled_from([0, 1, 5 * MINUTE - 1, 5 * MINUTE, HOUR, DAY, DAY + 1, 2 * DAY])
)
EVENTS = st.lists(st.tuples(OFFSETS, st.booleans()), min_size=1, max_size=25)


@settings(deadline=None)
@given(EVENTS, st.integers(0, 2 * DAY))
def test_a_slot_says_what_the_formula_says_whatever_the_order(events: list[tuple[int, bool]], later: int) -> None:
    counters = empty_counters(3)
    for offset, is_action in events:
        (count_action if is_action else count_shown)(counters, 1, START + offset)
    times = [START + offset for offset, _ in events]
    acted = [START + offset for offset, is_action in events if is_action]
    shown = [START + offset for offset, is_action in events if not is_action]
    now = max(times) + later
    assert counters.stamps[1] == max(times)
    assert counters.first_seen[1] == min(times)
    assert counters.totals[1] == len(acted)
    assert counters.impressions[1] == len(shown)
    got = counters.decayed[counters.numbers[1]] * np.exp2(-later * DECAY_RATES)
    wanted = [decayed([(time, 1.0) for time in acted], half_life, now) for half_life in ACTIONS]
    wanted += [decayed([(time, 1.0) for time in shown], half_life, now) for half_life in SHOWN]
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-200)
    for window, span in enumerate(WINDOWS):
        assert windowed(counters, 1, window, now) == pytest.approx(expected_window(acted, span, now), abs=1e-9)
    assert not counters.decayed[0].any()
    for slot in (0, 2):
        assert counters.numbers[slot] == 0
        assert counters.first_seen[slot] == -1


@settings(deadline=None)
@given(st.integers(1, 2 * DAY))
def test_a_time_before_the_stamp_reads_as_the_stamp(before: int) -> None:
    counters = empty_counters(1)
    for offset in (0, 100, DAY):
        count_action(counters, 0, START + offset)
    for window in range(len(WINDOWS)):
        at_stamp = windowed(counters, 0, window, START + DAY)
        assert windowed(counters, 0, window, START + DAY - before) == at_stamp


def test_what_is_counted_every_millisecond_still_decays() -> None:
    counters = empty_counters(1)
    tally = DecayedTotals(np.zeros(1, dtype=np.float64), np.zeros(1, dtype=np.int64))
    n = 20_000
    # A large count first, whose decay from one event to the next is below what float32 can tell.
    for _ in range(n):
        count_action(counters, 0, START)
        add_to_tally(tally, 0, START)
    for step in range(1, n):
        count_action(counters, 0, START + step)
        add_to_tally(tally, 0, START + step)
    for kind, half_life in enumerate(ACTIONS):
        ratio = 2.0 ** (-1.0 / half_life)
        wanted = n * ratio ** (n - 1) + (1 - ratio ** (n - 1)) / (1 - ratio)
        assert counters.decayed[1, kind] == pytest.approx(wanted, rel=1e-7)
    ratio = 2.0 ** (-1.0 / DAY)
    wanted = n * ratio ** (n - 1) + (1 - ratio ** (n - 1)) / (1 - ratio)
    assert tallied(tally, 0, START + n - 1) == pytest.approx(wanted, rel=1e-7)


def test_totals_go_on_where_float32_would_stop() -> None:
    counters = empty_counters(1)
    counters.totals[0] = 1 << 24
    count_action(counters, 0, START)
    assert counters.totals[0] == (1 << 24) + 1


@given(st.lists(OFFSETS, min_size=1, max_size=15), st.integers(0, DAY))
@settings(max_examples=30, deadline=None)
def test_a_tally_does_not_depend_on_the_order(offsets: list[int], later: int) -> None:
    tally = DecayedTotals(np.zeros(2, dtype=np.float64), np.zeros(2, dtype=np.int64))
    for offset in offsets:
        add_to_tally(tally, 1, START + offset)
    now = START + max(offsets) + later
    wanted = decayed([(START + offset, 1.0) for offset in offsets], DAY, now)
    assert tallied(tally, 1, now) == pytest.approx(wanted, rel=1e-9)
    assert tallied(tally, 0, now) == 0.0


def test_growing_keeps_and_clearing_forgets() -> None:
    counters = empty_counters(2)
    count_action(counters, 1, START)
    counters = grown_counters(counters, 5)
    assert counters.totals.tolist() == [0, 1, 0, 0, 0]
    assert counters.first_seen.tolist() == [-1, START, -1, -1, -1]
    clear_counters(counters, np.array([1], dtype=np.int32))
    blank = empty_counters(5)
    for name in BY_SLOT:
        np.testing.assert_array_equal(getattr(counters, name), getattr(blank, name))
    assert not any(getattr(counters, name).any() for name in BY_NUMBER)
    counters = with_spare_numbers(counters, 2)
    assert len(counters.decayed) >= int(counters.used[0]) + 2


def test_counters_travel_and_come_from_a_release_that_had_all_of_them_by_slot() -> None:
    """Up to version 0.2.0."""
    counters = empty_counters(3)
    for slot, now in ((2, START), (0, START + 1), (2, START + HOUR)):
        count_action(counters, slot, now)
    count_shown(counters, 0, START + 5)
    slots = np.arange(3, dtype=np.int32)
    parts = take_counters(counters, slots, "items.")
    assert parts["items.rows"].tolist() == [0, 2]
    older = {name: part for name, part in parts.items() if name != "items.rows"}
    older |= {f"items.{name}": getattr(counters, name)[counters.numbers] for name in BY_NUMBER}
    for sent in (parts, older):
        other = empty_counters(3)
        count_action(other, 1, START)
        other = put_counters(other, slots, sent, "items.")
        again = take_counters(other, slots, "items.")
        assert again.keys() == parts.keys()
        for name, part in parts.items():
            np.testing.assert_array_equal(again[name], part)


def test_what_a_release_without_totals_of_impressions_kept_is_taken_for_them() -> None:
    counts = empty_counts(SignalSettings())
    for _ in range(3):
        count_shown(counts.items, 1, START)
    count_shown(counts.items, 1, START + 14 * DAY)
    rows = np.array([0, 1], dtype=np.int32)
    parts = take_counts(counts, rows, np.empty(0, dtype=np.int32))
    mirrored, older = empty_counts(SignalSettings()), empty_counts(SignalSettings())
    mirrored = put_counts(mirrored, parts)
    assert mirrored.items.impressions[:2].tolist() == [0, 4]
    for family, counters in (("items", counts.items), ("everything", counts.everything)):
        # It had everything by slot.
        del parts[f"{family}.rows"], parts[f"{family}.impressions"]
        parts |= {f"{family}.{name}": getattr(counters, name)[counters.numbers[:2]] for name in BY_NUMBER}
    older = put_counts(older, parts)
    assert older.items.impressions[:2].tolist() == [0, 2], "one, and three that have halved twice"
