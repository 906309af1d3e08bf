"""Which kind of feature a value belongs to, inferred from the value unless the settings declare it."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

from stream_reco.signals.feature_columns import microseconds

MOST_WORDS = 3
"""Words of a category; a longer one is a text, and so is one of more than `MOST_LETTERS`."""
MOST_LETTERS = 64
LEAST_VECTOR = 8
"""Numbers in a list that is taken for a vector; a shorter list holds numbers that name categories."""
_DATE = len("2026-01-01")


class Kind(IntEnum):
    """What the values of a feature are; the number is what checkpoints and publications hold."""

    CATEGORY = 0
    TEXT = 1
    NUMBER = 2
    TIME = 3
    BOOLEAN = 4
    VECTOR = 5
    IGNORED = 6


_NUMBERS = frozenset({Kind.NUMBER})
_LISTS = (list, tuple)


def kind_of(value: object) -> Kind | None:
    """The kind of one value, of a list the kind of its members.

    None for what says nothing: null, NaN, infinity, a blank text, a list of such, an object, a list of lists. Dates and
    times are texts of ISO 8601 that begin with a whole date.
    """
    own = type(value)
    if own is str:
        text = str(value)
        return _kind_of_short(text) if len(text) <= MOST_LETTERS else None if text.isspace() else Kind.TEXT
    if own is float:
        return Kind.NUMBER if value - value == 0.0 else None  # type: ignore[operator]
    if own is int:
        return Kind.NUMBER
    if own is bool:
        return Kind.BOOLEAN
    return _kind_of_list(value) if isinstance(value, (list, tuple)) else None


def time_of(text: str) -> float | None:
    """An ISO 8601 time as ms since the epoch, UTC where it names no zone; None where it is none."""
    at = microseconds(text)
    return None if at is None else at / 1000.0


def _kind_of_list(members: list[object] | tuple[object, ...]) -> Kind | None:
    kinds = {kind_of(one) for one in members if type(one) not in _LISTS}
    kinds.discard(None)
    if not kinds:
        return None
    if len(members) >= LEAST_VECTOR and kinds == _NUMBERS:
        return Kind.VECTOR
    return Kind.TEXT if Kind.TEXT in kinds else Kind.CATEGORY


@lru_cache(maxsize=1 << 16)
def _kind_of_short(value: str) -> Kind | None:
    if not value or value.isspace():
        return None
    if len(value) >= _DATE and value[4] == "-" and value[7] == "-" and time_of(value) is not None:
        return Kind.TIME
    return Kind.TEXT if value.count(" ") >= MOST_WORDS else Kind.CATEGORY
