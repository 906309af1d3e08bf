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
def test_new_items_with_actions_come_by_what_happened_lately(log: list[tuple[int, int, str]], slots: list[int]) -> None:
    items = empty_counters(8)
    for slot, minutes, kind in sorted(log, key=lambda one: -one[1]):
        (count_action if kind == "act" else count_shown)(items, slot, NOW - minutes * MINUTE)
    heat = {}
    for place, slot in enumerate(slots):
        mine = [minutes for other, minutes, _ in log if other == slot]
        acted = [minutes for other, minutes, kind in log if other == slot and kind == "act"]
        if len(acted) >= 5 and max(mine) < 60:
            heat[place] = sum(math.exp2(-minutes / 5) for minutes in acted)
    found = new_items(items, np.array(slots, dtype=np.int32), NOW).tolist()
    assert set(found) == set(heat)
    warmth = [heat[place] for place in found]
    assert all(one >= other * (1 - 1e-9) for one, other in pairwise(warmth))
