"""Whole numbers with a fraction of zero: JSON has one kind of number, and 933.0 is an integer in it."""

from __future__ import annotations

from collections.abc import Iterable

_EXACT = 2.0**53
"""From here on a float stands for several integers, and which one was meant cannot be told."""


def whole_number(value: object) -> object:
    """A whole float below 2⁵³ as the integer that it is, anything else as it stands."""
    if isinstance(value, float) and value.is_integer() and -_EXACT < value < _EXACT:
        return int(value)
    return value


def with_whole_numbers(obj: dict[str, object], fields: Iterable[str]) -> dict[str, object]:
    """The same object with `whole_number` of some of its fields."""
    whole = {field: whole_number(obj[field]) for field in fields if isinstance(obj.get(field), float)}
    return obj | whole if whole else obj
