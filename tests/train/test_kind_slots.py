"""Which kind has which head: the first ones seen, for good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.model.heads import MOST_KINDS
from stream_reco.train.kind_slots import NO_SLOT, KindSlots

KINDS = st.lists(st.text(max_size=3), max_size=40)


@given(KINDS)
def test_kinds_are_numbered_in_the_order_of_their_first_action(seen: list[str]) -> None:
    slots = KindSlots()
    first = list(dict.fromkeys(seen))
    for kind in seen:
        number = first.index(kind)
        assert slots.slot_of(kind) == (number if number < MOST_KINDS else NO_SLOT)
    assert slots.kinds == first[:MOST_KINDS]


@given(KINDS, KINDS)
def test_what_was_kept_goes_on_where_it_was(before: list[str], after: list[str]) -> None:
    whole, kept = KindSlots(), KindSlots()
    for kind in before:
        whole.slot_of(kind)
        kept.slot_of(kind)
    kept = KindSlots(kept.kinds)
    assert [kept.slot_of(kind) for kind in after] == [whole.slot_of(kind) for kind in after]


def test_kinds_beyond_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    slots = KindSlots([f"kind{number}" for number in range(MOST_KINDS)])
    for kind in ("late", "later", "late", "kind3"):
        slots.slot_of(kind)
    assert ["'late'" in one.message for one in caplog.records] == [True, False]
    assert "kind0, kind1" in caplog.records[0].message
