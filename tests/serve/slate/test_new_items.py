"""Newcomers against their definition, one item at a time."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.serve.slate.new_items import new_items
from stream_reco.signals.counters import count_action, count_shown, empty_counters

NOW = 1_700_000_000_000
MINUTE = 60_000
events = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 150), st.sampled_from(["act", "act", "act", "show"])))


@settings(deadline=None)
@given(log=events, slots=st.lists(st.integers(0, 7), unique=True))
def test_new_items_come_by_how_fast_they_gain(log: list[tuple[int, int, str]], slots: list[int]) -> None:
    items = empty_counters(8)
    for slot, minutes, kind in sorted(log, key=lambda one: -one[1]):
        (count_action if kind == "act" else count_shown)(items, slot, NOW - minutes * MINUTE)
    heat = {}
    for place, slot in enumerate(slots):
        mine = [minutes for other, minutes, _ in log if other == slot]
        acted = [minutes for other, minutes, kind in log if other == slot and kind == "act"]
        if len(acted) >= 5 and max(mine) < 60:
            fast, slow = (sum(math.exp2(-minutes / life) for minutes in acted) for life in (5, 15))
            age = 7.5 * math.log2(slow / fast)
            heat[place] = fast / (age + 1 / 60)
    found = new_items(items, np.array(slots, dtype=np.int32), NOW).tolist()
    assert set(found) == set(heat)
    warmth = [heat[place] for place in found]
    assert all(one >= other * (1 - 1e-6) for one, other in pairwise(warmth))


def test_the_item_of_this_second_comes_before_those_of_the_seconds_before_and_before_what_was_liked_all_along() -> None:
    items = empty_counters(8)
    for minute in range(20):
        for second in range(0, 60, 5):
            count_action(items, 0, NOW - (20 - minute) * MINUTE + second * 1000)
    for slot in (3, 1, 2):
        for click in range(20):
            count_action(items, slot, NOW - slot * 1000 + click)
    for click in range(12):
        count_action(items, 4, NOW - click)
    count_action(items, 5, NOW)
    assert new_items(items, np.arange(8, dtype=np.int32), NOW).tolist() == [4, 1, 2, 3, 0]
