"""Whether two items whose words or vectors are nearly the same are one thing, by what they say exactly.

Much that is nearly the same is not: volumes of a series, sizes of a shoe, two films of one title thirty years apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from operator import eq
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind, kind_of, time_of
from stream_reco.signals.content.words import text_of, words_in
from stream_reco.signals.settings import DAY_MS

T = TypeVar("T")
_ALIKE_VECTORS = 0.98
"""Cosine of the given vectors of two items from which they say nearly the same."""
_LEAST_WORDS = 4
"""Different words of a text that says what an item is. Of a shorter one the categories must be the same as well."""
_LEAST_SAID = 3
"""Words, numbers and categories that two items with shorter texts have in common, at least."""
_NUMBERS_APART = 0.1
"""Numbers with a fraction, as prices have it, may differ by this share; whole ones, as of years and volumes, not."""
_TIMES_APART_MS = 366 * DAY_MS
"""By so much (ms) times may differ: what is offered again is offered later."""
_TELLS_APART = re.compile(r".*\d.*|[ivx]+|x*[sml]|[^\W\da]")
"""Words that tell volumes, models and sizes apart: with a digit, Roman numbers, sizes of clothes, letters but "a"."""
_A_SIZE = re.compile(r"\d+(?:[.,]\d+)?\s?\w{0,3}|[ivx]+|x*[sml]")
"""Categories that do: "42", "128 GB", "XL", "III"."""
_TINY = 1e-30
"""What the lengths of zeros are taken for."""
_MOST_KNOWN = 4_096
"""Items whose facts are kept from one request to the next, some kilobytes each."""


class Facts(NamedTuple):
    """What an item says."""

    words: frozenset[str]
    marks: Mapping[str, Counter[str]]
    """Of each text how often each word stands there that tells things apart."""
    categories: Mapping[str, frozenset[str]]
    sizes: Mapping[str, frozenset[str]]
    """Those of the categories that tell things apart."""
    numbers: Mapping[str, float]
    times: Mapping[str, float]
    """ms"""


class FactsReader:
    """Reads what items of a catalogue say, as its features are read at the moment."""

    def __init__(self, catalogue: Catalogue, unique: NDArray[np.bool_], known: dict[bytes, Facts]) -> None:
        """`known`: by features as they are packed; the reader adds to it."""
        self._catalogue, self._unique, self._known = catalogue, unique, known

    def are_one_thing(self, first: int, second: int) -> bool:
        """Whether the items of two slots are, whose words or vectors are nearly the same."""
        one, other = self._of(first), self._of(second)
        if not _fits(one, other):
            return False
        vectors = self._vectors_alike(first, second)
        if vectors is not None:
            return vectors
        words = len(one.words & other.words)
        return words >= _LEAST_WORDS or _say_enough(one, other, words)

    def _of(self, slot: int) -> Facts:
        packed = self._catalogue.features.raw(slot)
        facts = self._known.get(packed)
        if facts is None:
            features = self._catalogue.features[slot] or {}
            facts = self._known[packed] = _facts_of(self._catalogue.content.fields, self._unique, features)
        return facts

    def _vectors_alike(self, first: int, second: int) -> bool | None:
        """Whether all given vectors that both have are nearly the same; None where they have none in common."""
        vectors = self._catalogue.content.vectors
        cosines = [
            _cosine(array.rows[first], array.rows[second])
            for array in map(vectors.array, vectors.names)
            if array is not None and array.has(first) and array.has(second)
        ]
        return min(cosines) >= _ALIKE_VECTORS if cosines else None


class KnownFacts:
    """Facts from one request to the next, since the same items are met again; any number of threads may ask."""

    def __init__(self) -> None:
        self._known: tuple[bytes, dict[bytes, Facts]] = (b"", {})
        """As what features are read, and what was read so."""

    def reader(self, catalogue: Catalogue) -> FactsReader:
        """A reader of a catalogue's items as of now."""
        unique = catalogue.content.fields.unique
        read_as, known = catalogue.content.fields.kinds.tobytes() + unique.tobytes(), self._known
        if known[0] != read_as or len(known[1]) > _MOST_KNOWN:
            # A new one: another thread may still put in what it reads as before.
            known = self._known = read_as, {}
        return FactsReader(catalogue, unique, known[1])


def _facts_of(fields: FeatureFields, unique: NDArray[np.bool_], features: Mapping[str, Any]) -> Facts:
    words, numbers, times = set[str](), dict[str, float](), dict[str, float]()
    marks, categories = dict[str, Counter[str]](), dict[str, frozenset[str]]()
    for name, value in features.items():
        given, number = kind_of(value), fields.find(name)
        if given is None or number < 0:
            continue
        kind = fields.kinds_by_number[number]
        if kind == Kind.TEXT:
            mine = list(words_in(value))
            words.update(mine)
            marks[name] = Counter(filter(_TELLS_APART.fullmatch, mine))
        elif kind == Kind.CATEGORY and not unique[number]:
            several = value if isinstance(value, (list, tuple)) else (value,)
            categories[name] = frozenset(text_of(one) for one in several if kind_of(one) is not None)
        elif kind == given == Kind.NUMBER:
            numbers[name] = float(value)
        elif kind == given == Kind.TIME:
            times[name] = time_of(value) or 0.0
    sizes = {name: frozenset(filter(_A_SIZE.fullmatch, mine)) for name, mine in categories.items()}
    return Facts(frozenset(words), marks, categories, sizes, numbers, times)


def _fits(one: Facts, other: Facts) -> bool:
    """Whether nothing that both say tells them apart."""
    return (
        _all_alike(one.marks, other.marks, eq)
        and _all_alike(one.sizes, other.sizes, eq)
        and _all_alike(one.numbers, other.numbers, _nearly)
        and _all_alike(one.times, other.times, _within_a_year)
    )


def _all_alike(one: Mapping[str, T], other: Mapping[str, T], alike: Callable[[T, T], bool]) -> bool:
    """Whether of each feature that both have they say something alike."""
    # Mostly they are the same throughout, which takes a tenth of the time to see.
    return one == other or all(alike(one[name], other[name]) for name in one.keys() & other.keys())


def _say_enough(one: Facts, other: Facts, words: int) -> bool:
    """Whether two items with short texts have all categories in common, and with the `words` that both have enough."""
    both = one.categories.keys() & other.categories.keys()
    if any(one.categories[name] != other.categories[name] for name in both):
        return False
    categories = sum(len(one.categories[name]) for name in both)
    return words + categories + len(one.numbers.keys() & other.numbers.keys()) >= _LEAST_SAID


def _nearly(one: float, other: float) -> bool:
    if one.is_integer() and other.is_integer():
        return one == other
    return abs(one - other) <= _NUMBERS_APART * max(abs(one), abs(other))


def _within_a_year(one: float, other: float) -> bool:
    return abs(one - other) <= _TIMES_APART_MS


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    return float(first @ second) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), _TINY)
