"""From the features of an item or a user to numbered values."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from stream_reco.events import key_of
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.feature_columns import microseconds

MOST_VALUES = 64
"""Categories, or words, of one feature of an item that are read; a text has no more than so many that tell much."""
MOST_ENTRIES = 256
"""Values of an item or a user over all features."""
_LARGEST = 1e30
"""Numbers beyond are taken for it: their squares must stay finite."""
_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_LETTERS = 4096


class Entry(NamedTuple):
    """One value of a feature."""

    field: int
    """Number of the feature."""
    code: int
    """int64: what is said, the same for every feature of either side; of a number or a time the bits of its float64."""
    weight: float
    """How much of what is said of the feature this is: squares of a feature's categories sum to 1."""


def encoded(fields: FeatureFields, features: Mapping[str, Any], *, learn: bool) -> list[Entry]:
    """The values of all features, at most `MOST_ENTRIES`.

    With `learn` features and scales are learned; without, what is unknown is passed over.
    """
    found: list[Entry] = []
    for name, value in features.items():
        number = fields.admit(name, value) if learn else fields.find(name)
        if number < 0 or not fields.fits(number, value, learn=learn):
            continue
        found += _entries(fields, number, value, learn=learn)
        if len(found) >= MOST_ENTRIES:
            return found[:MOST_ENTRIES]
    return found


def _entries(fields: FeatureFields, number: int, value: Any, *, learn: bool) -> Iterator[Entry]:
    kind = fields.kinds[number]
    if kind in (Kind.NUMBER, Kind.TIME):
        amount = _amount(value)
        if learn and kind == Kind.NUMBER and fields.running.add(number, amount):
            fields.changed = True
        yield Entry(number, _bits(amount), 1.0)
    elif kind == Kind.TEXT:
        yield from (Entry(number, code_of(word), weight) for word, weight in words_of(value).items())
    elif kind != Kind.VECTOR:
        members = [one for one in value if one is not None] if isinstance(value, (list, tuple)) else [value]
        codes = dict.fromkeys(code_of(_text(one)) for one in members[:MOST_VALUES])
        weight = 1.0 / math.sqrt(len(codes)) if codes else 0.0
        yield from (Entry(number, code, weight) for code in codes)


def words_of(value: Any) -> dict[str, float]:
    """The words of a text, or of the texts in a list, with 1 + log of how often each is there (Salton and Buckley
    1988), those that are there most; at most `MOST_VALUES`."""
    texts = value if isinstance(value, (list, tuple)) else [value]
    counts = Counter(word for text in texts if text is not None for word in _WORD.findall(_text(text)[:_MOST_LETTERS]))
    return {word: 1.0 + math.log(count) for word, count in counts.most_common(MOST_VALUES)}


def _text(value: object) -> str:
    """What is compared: 5 and "5" are one value, as are "Red" and "red"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().casefold()


@lru_cache(maxsize=1 << 16)
def code_of(text: str) -> int:
    """int64: what a text is known by in all features."""
    return key_of(text, "feature value")


def _amount(value: Any) -> float:
    if isinstance(value, str):
        at = microseconds(value)
        return 0.0 if at is None else at / 1000.0
    return min(max(float(value), -_LARGEST), _LARGEST)


def _bits(number: float) -> int:
    return int(np.float64(number).view(np.int64))
