"""Which kind of feature a value belongs to, inferred from the value unless the settings declare it."""

from __future__ import annotations

import math
from enum import IntEnum

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


def kind_of(value: object) -> Kind | None:
    """The kind of one value, of a list the kind of its members; None for what says nothing: null, NaN, an empty list.

    Dates and times are texts of ISO 8601 that begin with a whole date.
    """
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, (int, float)):
        return Kind.NUMBER if math.isfinite(value) else None
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, (list, tuple)):
        members = [one for one in value if one is not None]
        if not members:
            return None
        if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in members):
            return Kind.VECTOR if len(members) >= LEAST_VECTOR else Kind.CATEGORY
        kinds = {kind_of(one) for one in members}
        return Kind.TEXT if Kind.TEXT in kinds else Kind.CATEGORY
    return None


def _kind_of_text(value: str) -> Kind | None:
    if not value or value.isspace():
        return None
    if len(value) >= _DATE and value[4] == "-" and value[7] == "-" and microseconds(value) is not None:
        return Kind.TIME
    if len(value) > MOST_LETTERS or value.count(" ") >= MOST_WORDS:
        return Kind.TEXT
    return Kind.CATEGORY
