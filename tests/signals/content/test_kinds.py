"""Which kind a value is of: a table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stream_reco.signals.content.kinds import Kind, kind_of, time_of

TABLE: list[tuple[Any, Kind | None]] = [
    ("tea", Kind.CATEGORY),
    ("lord of rings", Kind.CATEGORY),
    ("the lord of rings", Kind.TEXT),
    ("x" * 64, Kind.CATEGORY),
    ("x" * 65, Kind.TEXT),
    (" " * 65, None),
    ("", None),
    (" \t", None),
    ("2026", Kind.CATEGORY),
    ("2026-01-01", Kind.TIME),
    ("2026-01-01T12:30:00+02:00", Kind.TIME),
    ("2026-13-01", Kind.CATEGORY),
    ("2026-01-01 was a good day", Kind.TEXT),
    (5, Kind.NUMBER),
    (10**400, Kind.NUMBER),
    (0.5, Kind.NUMBER),
    (math.nan, None),
    (math.inf, None),
    (True, Kind.BOOLEAN),
    (None, None),
    ([], None),
    ([None, math.nan, ""], None),
    (["tea", None], Kind.CATEGORY),
    (["tea", "the lord of rings"], Kind.TEXT),
    ([1, 2, 3], Kind.CATEGORY),
    ([1.0] * 7, Kind.CATEGORY),
    ([1.0] * 8, Kind.VECTOR),
    ([1.0] * 8 + [None], Kind.VECTOR),
    ([1.0] * 7 + [True], Kind.CATEGORY),
    ([["tea"]], None),
    ([["tea"], "mug"], Kind.CATEGORY),
    ({"a": 1}, None),
]


@pytest.mark.parametrize(("value", "kind"), TABLE)
def test_each_value_is_of_its_kind(value: Any, kind: Kind | None) -> None:
    assert kind_of(value) is kind
    if isinstance(value, list):
        assert kind_of(tuple(value)) is kind


def test_numbers_of_kinds_stay_because_checkpoints_hold_them() -> None:
    assert [(kind.name, int(kind)) for kind in Kind] == [
        ("CATEGORY", 0),
        ("TEXT", 1),
        ("NUMBER", 2),
        ("TIME", 3),
        ("BOOLEAN", 4),
        ("VECTOR", 5),
        ("IGNORED", 6),
    ]


def test_times_are_milliseconds_and_utc_unless_they_say_otherwise() -> None:
    assert time_of("1970-01-02") == 86_400_000.0
    assert time_of("1970-01-01T02:00:00.001+02:00") == 1.0
    assert time_of("tea") is None
