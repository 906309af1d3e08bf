"""Packed events are the events: the same in their order, in parts that are short, whoever adds them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.events import Action, Event, UserEvent, decode_batch, encode_batch, packed
from stream_reco.events.packed import PackedEvents
from stream_reco.events.wire import encode_elements, join_batch
from stream_reco.storage.sortable_keys import of_id, of_ids

NOW = 1_700_000_000_000

ids = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1, max_size=100)
events = st.builds(
    lambda event_id, size: Action(user_id=1, item_id=2, action="x" * size, timestamp=NOW, event_id=event_id),
    ids,
    st.integers(1, 90),
) | st.builds(lambda event_id: UserEvent(user_id=1, timestamp=NOW, event_id=event_id), ids)


@given(st.lists(st.lists(events, max_size=9), max_size=4))
def test_what_was_added_is_there_in_short_parts(added: list[list[Event]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packed, "MOST_EVENTS", 4)
        patched.setattr(packed, "MOST_BYTES", 200)
        batch = PackedEvents()
        for each in added:
            batch.extend(each)
    everything = [event for each in added for event in each]
    assert list(batch) == batch.unpacked() == everything
    assert len(batch) == len(everything) == sum(part.events for part in batch.parts)
    assert batch.ids == [event.event_id for event in everything if event.event_id is not None]
    assert batch.kinds == Counter(type(event) for event in everything)
    for part in batch.parts:
        assert part.events == 1 or (part.events <= 4 and len(part.packed) <= 200)
    assert all(batch[index] == event for index, event in enumerate(everything))
    arrived = PackedEvents.from_bytes(batch.to_bytes())
    assert list(arrived) == everything
    assert (arrived.ids, arrived.kinds, arrived.parts, len(arrived)) == (
        batch.ids,
        batch.kinds,
        batch.parts,
        len(batch),
    )


@pytest.mark.parametrize("count", [1, 15, 16, 17, 65_535, 65_536])
def test_parts_joined_are_what_was_encoded_together(count: int) -> None:
    each = [UserEvent(user_id=number, timestamp=NOW) for number in range(count)]
    whole = encode_batch(each)
    parts = [part for part in (each[:7], each[7:]) if part]
    assert join_batch(count, [encode_elements(part) for part in parts]) == whole
    assert decode_batch(whole) == each


@given(st.lists(ids.filter(lambda one: one is not None)))
def test_the_bytes_of_many_ids_are_those_of_each(many: list[int | str]) -> None:
    longest = ["x" * 512, "€" * 170, "€" * 64, "𝄞" * 64, "𝄞" * 65]
    assert of_ids([*many, *longest]) == [of_id(one) for one in [*many, *longest]]
