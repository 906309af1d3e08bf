"""Ids as hashes: known for a day at least and less than two, and found again in checkpoints, earlier ones included."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Id, key_of
from stream_reco.learner.event_deduplication import HashedEventDeduplicator

HOUR = 3_600_000
DAY = 24 * HOUR
ids = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.text("ab", min_size=1, max_size=2))


@settings(max_examples=100, deadline=None)
@given(came=st.lists(st.tuples(ids, st.integers(0, 5 * HOUR)), max_size=200), cut=st.integers(0, 200))
def test_an_id_is_known_for_a_day_at_least_and_for_less_than_two(came: list[tuple[Id, int]], cut: int) -> None:
    seen, last, now = HashedEventDeduplicator(), dict[Id, int](), 0
    for at, (event_id, passed) in enumerate(came):
        now += passed
        if at == cut:
            seen = HashedEventDeduplicator.from_state(seen.state())
        if new := seen.add(event_id, now + DAY):
            seen.expire(now)
        # 0 and 1 share a key: nobody counts in such ids and repeats them within a day.
        if event_id in (0, 1):
            continue
        age = now - last[event_id] if event_id in last else 2 * DAY
        assert not new or age > DAY
        assert new or age < 2 * DAY
        if new:
            last[event_id] = now


def test_many_ids_are_all_known() -> None:
    seen = HashedEventDeduplicator()
    assert all(seen.add(f"e{number}", number + DAY) for number in range(20_000))
    assert not any(seen.add(f"e{number}", 20_000 + DAY) for number in range(20_000))
    assert len(seen) == 20_000
    assert seen.add("late", 6 * DAY)
    seen.expire(5 * DAY)
    assert len(seen) == 1


def test_a_checkpoint_numbers_spans_by_when_their_ids_came() -> None:
    came = 100 * DAY + 9 * HOUR
    seen = HashedEventDeduplicator()
    seen.add("a", came + DAY)
    state = {name: array.tolist() for name, array in seen.state().items()}
    assert state == {"spans": [came // (8 * HOUR)], "sizes": [1], "keys": [key_of("a", "event")]}
    restored = HashedEventDeduplicator.from_state({name: np.array(values) for name, values in state.items()})
    restored.expire(came + DAY)
    assert "a" in restored
    restored.expire(came + DAY + 8 * HOUR)
    assert "a" not in restored
