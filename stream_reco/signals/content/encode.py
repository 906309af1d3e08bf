"""From the features of an item or a user to numbered values."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind, kind_of, time_of
from stream_reco.signals.content.words import MOST_VALUES, code_of, code_of_value, counted_words

MOST_ENTRIES = 256
"""Values of an item or a user over all features."""
_LARGEST = 1e30
"""Numbers beyond are taken for it: their squares must stay finite."""
_NUMBER, _TIME, _TEXT, _VECTOR = int(Kind.NUMBER), int(Kind.TIME), int(Kind.TEXT), int(Kind.VECTOR)
_COLUMNS = 3
_FIRST = itemgetter(0)
_FLOAT, _INTEGER = struct.Struct("=d"), struct.Struct("=q")


def encoded(fields: FeatureFields, features: Mapping[str, Any], *, learn: bool) -> NDArray[np.int64]:
    """int64[n, 3]: the values of all features, at most `MOST_ENTRIES`, those of a feature one behind the other.

    The first column is the feature's number, in ascending order. The second says what is said, the same for all
    features of either side; of a number or a time it has the bits of a float64. The third says how often a word is
    there, as `counted_words` does; it is 1 for all else. With `learn` features and scales are learned; without, what is
    unknown is passed over, and nothing is changed.
    """
    known: list[tuple[int, Any]] = []
    for name, value in features.items():
        kind = kind_of(value)
        if kind is not None:
            number = fields.admit(name, kind, value) if learn else fields.find_fitting(name, kind, value)
            if number >= 0:
                known.append((number, value))
    known.sort(key=_FIRST)
    found: list[int] = []
    for number, value in known[:MOST_ENTRIES]:
        _put(fields, number, value, found, learn=learn)
    return np.array(found[: _COLUMNS * MOST_ENTRIES], dtype=np.int64).reshape(-1, _COLUMNS)


def _put(fields: FeatureFields, number: int, value: Any, found: list[int], *, learn: bool) -> None:
    kind = fields.kinds_by_number[number]
    if kind == _NUMBER:
        amount = float(min(max(value, -_LARGEST), _LARGEST))
        if learn and fields.running.add(number, amount):
            fields.changed = True
        found += (number, _bits(amount), 1)
    elif kind == _TIME:
        found += (number, _bits(time_of(value) or 0.0), 1)
    elif kind == _TEXT:
        for word, count in counted_words(value):
            found += (number, code_of(word), count)
    elif kind == _VECTOR:
        return  # it has a store of its own
    elif isinstance(value, (list, tuple)):
        codes = dict.fromkeys(map(code_of_value, value[: 2 * MOST_VALUES]))
        codes.pop(0, None)
        for code in codes if len(codes) <= MOST_VALUES else [*codes][:MOST_VALUES]:
            found += (number, code, 1)
    else:
        found += (number, code_of_value(value), 1)


def _bits(number: float) -> int:
    bits: int = _INTEGER.unpack(_FLOAT.pack(number))[0]
    return bits
