"""Columns of ids: each cell decides for itself whether it is an integer or text, or all are one or the other."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_reco.datasets.columns import Column, text, with_missing
from stream_reco.datasets.reading import CellRules
from stream_reco.datasets.whole_numbers import integers_of, whole_column
from stream_reco.events.schema import INT64_MAX, INT64_MIN, MAX_ID_BYTES

_EXACT_FLOAT = 2.0**53
_WHOLE: Final = re.compile(r"\s*([+-]?[0-9]{1,40})(\.0*)?\s*\Z", re.ASCII)


def ids(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    """Return ids and bool[n] of those that are none: missing, over 512 bytes, not UTF-8, or not of the type asked for.

    Under the type `auto` a typed file keeps its types, and in text a cell is an integer if it prints as a signed
    64-bit integer does, else text. Under `int` a cell must be a whole number; `103.0` and `007` are 103 and 7.
    """
    column, bad = _numbers(array)
    if column is None:
        return _of_text(array, rules)
    return (column.as_text() if rules.id_type == "text" else column), bad


def optional_ids(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    """Return ids as `ids` does, but a missing one is None rather than bad."""
    column, bad = ids(array, rules)
    empty = _empty(array, rules)
    if column.words is not None:
        return Column(np.where(empty, -1, column.values), column.words), bad & ~empty
    return with_missing(column.values, empty), bad & ~empty


def mixture(column: Column, bad: NDArray[np.bool_]) -> tuple[int, int, str] | None:
    """Return how many good ids are integers, how many are text, and the first text; None where all are of one type."""
    words = column.words
    if words is None or not any(isinstance(word, int) for word in words):
        return None
    is_text = np.array([*(isinstance(word, str) for word in words), False], dtype=np.bool_)
    texts = is_text[column.values] & ~bad
    first = int(np.argmax(texts))
    integers = int((~bad & (column.values >= 0)).sum() - texts.sum())
    return (integers, int(texts.sum()), words[column.values[first]]) if texts[first] and integers else None


def _numbers(array: Any) -> tuple[Column | None, NDArray[np.bool_]]:
    kind = array.type
    missing: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_uint64(kind):
        unsigned = array.fill_null(0).to_numpy(zero_copy_only=False)
        return Column(unsigned.astype(np.int64)), missing | (unsigned > np.uint64(INT64_MAX))
    if pa.types.is_integer(kind):
        return Column(array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)), missing
    if pa.types.is_floating(kind):
        # An integer column with holes, as pandas writes it; from 2**53 on its numbers may not be what they were.
        numbers = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        good = (np.abs(numbers) < _EXACT_FLOAT) & (numbers == np.floor(numbers))
        return Column(np.where(good, numbers, 0).astype(np.int64)), ~good
    return None, missing


def _of_text(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    by_cell = rules.id_type == "auto" and not rules.typed
    whole = whole_column(array) if by_cell else None
    if whole is not None:
        return Column(whole), np.zeros(len(whole), dtype=np.bool_)
    column = text(array, rules.missing | {""})
    words: list[Any] = list(column.words or [])
    good = [len(word) <= MAX_ID_BYTES // 4 or len(word.encode()) <= MAX_ID_BYTES for word in words]
    if by_cell:
        for place, number in zip(*(found.tolist() for found in integers_of(words)), strict=True):
            words[place] = number
    elif rules.id_type == "int":
        words = [_whole(word) for word in words]
        good = [word is not None for word in words]
    return Column(column.values, words), ~np.array([*good, False], dtype=np.bool_)[column.values]


def _whole(word: str) -> int | None:
    spelt = _WHOLE.match(word)
    number = int(spelt[1]) if spelt else None
    return number if number is not None and INT64_MIN <= number <= INT64_MAX else None


def _empty(array: Any, rules: CellRules) -> NDArray[np.bool_]:
    kind = array.type
    missing: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind):
        floats: NDArray[np.float64] = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        return np.isnan(floats)
    if pa.types.is_integer(kind) or whole_column(array) is not None:
        return missing
    column = text(array, frozenset())
    blank = np.array([*(not word or word in rules.missing for word in column.words or []), False], dtype=np.bool_)
    found: NDArray[np.bool_] = blank[column.values] | missing
    return found
