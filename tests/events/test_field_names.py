"""Fields that nobody knows are found, whatever stands around them, and named after the nearest that somebody does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events.field_names import MOST_WARNINGS, FieldWarnings, nearest
from stream_reco.events.schema import KINDS

NAMES = ["type", "user_id", "item_id", "timestamp", "features", "availabel", "colour", "userId", "", "ü", "x" * 300]
VALUES: list[Any] = [None, 1, -2.5, "x", True, [], {"a": [1]}, "action"]
events = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=6),
    st.fixed_dictionaries({"type": st.sampled_from([*KINDS, "nonsense"])}).flatmap(
        lambda one: st.dictionaries(st.sampled_from(NAMES[1:]), st.sampled_from(VALUES), max_size=6).map(
            lambda more: one | more
        )
    ),
    st.sampled_from(VALUES),
)


def unknown(event: object) -> list[str]:
    """What is to be found, said plainly."""
    if not isinstance(event, dict) or str(event.get("type")) not in KINDS:
        return []
    known = {"type", *KINDS[event["type"]].__struct_fields__}
    return [name for name in event if name not in known]


def found(body: bytes, first: int = 0) -> FieldWarnings:
    warnings = FieldWarnings()
    warnings.read(body, first)
    return warnings


@settings(max_examples=200, deadline=None)
@given(batch=st.lists(events, max_size=8), first=st.integers(0, 5))
def test_all_unknown_fields_are_found_and_no_others(batch: list[Any], first: int) -> None:
    warnings = found(json.dumps(batch).encode(), first)
    wanted = [(first + place, name[:80]) for place, event in enumerate(batch) for name in unknown(event)]
    assert [(one.index, one.field) for one in warnings.described] == wanted
    assert warnings.more == 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("availabel", "available"),
        ("Available", "available"),
        ("itemId", "item_id"),
        ("eventid", "event_id"),
        ("feature", "features"),
        ("colour", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_the_nearest_name(name: str, meant: str | None) -> None:
    assert nearest(name, KINDS["item"].__struct_fields__) == meant


def test_a_hundred_are_described_and_the_events_with_more_counted() -> None:
    batch = [{"type": "item", "a": 1, "b": 2, "c": 3}] * 50 + [{"type": "item", "item_id": 1}] * 50
    warnings = found(json.dumps(batch).encode())
    assert len(warnings.described) == MOST_WARNINGS == 100
    assert warnings.described[-1].index == 33
    assert warnings.more == 50 - 33


def test_a_long_event_is_counted_without_a_list_of_its_fields() -> None:
    """There may be a hundred thousand of them."""
    long = {"type": "item"} | {f"f{number}": 1 for number in range(20_000)}
    warnings = found(json.dumps([long, {"type": "user", "name": "x"}]).encode())
    assert [one.index for one in warnings.described] == [1]
    assert warnings.more == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"3", b'{"type":"item","x":1}', b"[" * 100_000, b"[\xff]", b'[{"x":1}', b"[NaN]"]
)
def test_what_is_no_array_has_none(body: bytes) -> None:
    warnings = found(body)
    assert not warnings.described
    assert not warnings.more
