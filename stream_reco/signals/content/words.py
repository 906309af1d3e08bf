"""The words of a text, and the beginnings of words, which bring other forms of a word together."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from stream_reco.events import key_of
from stream_reco.signals.content.kinds import MOST_LETTERS, kind_of

MOST_VALUES = 64
"""Categories, or words and beginnings of words, of one feature of an item that are read."""
_MOST_WHOLE = 48
"""Words of them; those that are there most."""
_BEGINNING = 4
"""Letters; to cut words is about as good as to know their stems (McNamee and Mayfield 2004)."""
BEGINNING_SHARE = 0.5
"""What the beginning of a word weighs beside the word."""
_MOST_READ = 4096
"""Letters of a text, or of all texts in a list, that are read."""
_CLOSE = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Letters of scripts that write words without spaces: Thai, Japanese, Chinese."""
_WORD = re.compile(rf"[{_CLOSE}]+|(?:(?![{_CLOSE}])\w)+", re.UNICODE)
_IS_CLOSE = re.compile(rf"[{_CLOSE}]")


def text_of(value: object) -> str:
    """What is compared: 5 and "5" are one value, as are "Red" and " red", and the two ways of writing é."""
    if isinstance(value, str):
        return (value if value.isascii() else unicodedata.normalize("NFKC", value)).strip().casefold()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def code_of_value(value: object) -> int:
    """int64: what a category is known by in all features; 0 for what says nothing, and for a list."""
    if type(value) is str and len(value) <= MOST_LETTERS:
        return _code_of_short(value)
    return 0 if value is None or isinstance(value, (list, tuple)) or kind_of(value) is None else code_of(text_of(value))


@lru_cache(maxsize=1 << 16)
def _code_of_short(value: str) -> int:
    return code_of(text_of(value)) if value and not value.isspace() else 0


@lru_cache(maxsize=1 << 16)
def code_of(text: str) -> int:
    """int64: what a text is known by, as `text_of` gives it, or a word."""
    return key_of(text, "feature value")


def counted_words(value: Any) -> Iterator[tuple[str, int]]:
    """The words of a text, or of the texts in a list, and how often each is there; at most `MOST_VALUES`.

    Behind them come beginnings of words, with an asterisk behind them and the count negated, as many as find room.
    """
    counts = Counter(words_in(value))
    words = counts.most_common(_MOST_WHOLE)
    yield from words
    beginnings: Counter[str] = Counter()
    for word, count in words:
        if len(word) > _BEGINNING and word.isalpha():
            beginnings[word[:_BEGINNING]] += count
    for beginning, count in beginnings.most_common(MOST_VALUES - len(words)):
        yield beginning + "*", -count


def weight_of(count: int) -> float:
    """What a word weighs that is so many times in a text: 1 + log count (Salton and Buckley 1988), a beginning less."""
    return (1.0 + math.log(abs(count))) * (1.0 if count > 0 else BEGINNING_SHARE)


def words_in(value: Any) -> Iterator[str]:
    """The words of a text, or of the texts in a list, as they stand there, in small letters."""
    left = _MOST_READ
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if left <= 0:
            return
        if not isinstance(text, (list, tuple)) and kind_of(text) is not None:
            read = text_of(text[:left] if isinstance(text, str) else text)
            left -= len(read)
            if read.isascii():
                yield from _WORD.findall(read)
                continue
            for word in _WORD.findall(read):
                yield from _pairs(word) if len(word) > 2 and _IS_CLOSE.match(word) else (word,)


def _pairs(letters: str) -> Iterator[str]:
    return (letters[at : at + 2] for at in range(len(letters) - 1))
