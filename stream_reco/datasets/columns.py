"""Columns of numbers, text and context: checked vectorised, converted to Python values on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_reco.datasets.reading import CellRules
from stream_reco.datasets.whole_numbers import integers_of
from stream_reco.events.schema import MAX_POSITION

_NAN = frozenset({"nan", "NaN"})


class ColumnTypeError(ValueError):
    """A column of a type that does not fit its role."""


@dataclass(frozen=True, slots=True)
class Column:
    """n values. Without `words` they are `values` themselves; with them they are `words[values]`, −1 meaning none."""

    values: NDArray[Any]
    words: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any]) -> Column:
        """Return the column of these rows (int64[m] numbers or a bool[n] mask)."""
        return Column(self.values[rows], self.words)

    def pick(self, rows: NDArray[Any]) -> list[Any]:
        """Return the Python values of these rows; None for empty cells."""
        picked: list[Any] = self.values[rows].tolist()
        words = self.words
        return picked if words is None else [words[code] if code >= 0 else None for code in picked]

    def missing(self) -> NDArray[np.bool_]:
        """Return bool[n]: where there is no value."""
        return self.values < 0 if self.words is not None else np.zeros(len(self.values), dtype=np.bool_)

    def longer_than(self, limit: int) -> NDArray[np.bool_]:
        """Return bool[n]: which values are texts of more than `limit` characters."""
        long = [isinstance(word, str) and len(word) > limit for word in self.words or []]
        if not any(long):
            return np.zeros(len(self.values), dtype=np.bool_)
        found: NDArray[np.bool_] = np.array([*long, False], dtype=np.bool_)[self.values]
        return found

    def as_text(self) -> Column:
        """Return the same values as text: numbers that are names."""
        if self.words is not None:
            return Column(self.values, [str(word) for word in self.words])
        encoded = pa.array(self.values).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return Column(codes, [str(value) for value in encoded.dictionary.to_pylist()])


def text(array: Any, missing: frozenset[str]) -> Column:
    """Return a column of text; none where it is `missing`, null or not UTF-8. Raises `ColumnTypeError` for others."""
    kind = array.type
    if not any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
        raise ColumnTypeError(f"it is of type {kind}, not text or integers")
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    decoded = [_decoded(word) for word in encoded.dictionary.to_pylist()]
    present = [word for word in decoded if word is not None and word not in missing]
    if len(present) == len(decoded):
        return Column(codes, present)
    # The last entry serves code −1.
    numbers = np.full(len(decoded) + 1, -1, dtype=np.int64)
    numbers[:-1][[word is not None and word not in missing for word in decoded]] = np.arange(len(present))
    return Column(numbers[codes], present)


def numbers(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    """Return finite float64 values, none where the cell is missing, and bool[n] of what is no finite number.

    NaN is bad in every kind of file: somebody has computed it.
    """
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values, missing = _numpy(array), _nulls(array)
    elif pa.types.is_decimal(kind):
        values, missing = _numpy(array.cast(pa.float64())), _nulls(array)
    else:
        column = text(array, frozenset({"", *rules.missing} - _NAN))
        parsed = np.array([*map(to_float, column.words or []), 0.0])
        empty = np.array([*(False for _ in column.words or []), True])
        values, missing = parsed[column.values], empty[column.values]
    values = np.where(missing, 0.0, values.astype(np.float64))
    bad = ~np.isfinite(values)
    return with_missing(np.where(bad, 0.0, values), missing), bad


def positions(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    """Return whole numbers from 0 (or none) and bool[n] of what is neither."""
    column, bad = numbers(array, rules)
    values = _floats(column)
    off = ~column.missing() & ((values < 0) | (values != np.floor(values)) | (values > MAX_POSITION))
    whole = np.where(off | column.missing(), 0, values).astype(np.int64)
    return with_missing(whole, column.missing()), bad | off


def propensities(array: Any, rules: CellRules) -> tuple[Column, NDArray[np.bool_]]:
    """Return probabilities in (0, 1] (or none) and bool[n] of what is neither."""
    column, bad = numbers(array, rules)
    values = _floats(column)
    return column, bad | (~column.missing() & ~((values > 0) & (values <= 1)))


def context(array: Any, rules: CellRules) -> Column:
    """Return values for a context: Parquet keeps its type; a CSV column is of integers, else floats, else text."""
    kind = array.type
    whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if whole and not _beyond_int64(array):
        return with_missing(_numpy(array), _nulls(array))
    if whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = _numpy(array.cast(pa.float64(), safe=False))
        return with_missing(np.nan_to_num(values, posinf=0, neginf=0), _nulls(array) | ~np.isfinite(values))
    if pa.types.is_temporal(kind):
        array = array.cast(pa.string())
    column = text(array, rules.blank)
    if rules.typed or not column.words:
        return column
    at, integers = integers_of(column.words)
    if len(at) == len(column.words):
        return Column(column.values, integers.tolist())
    floats = [to_float(word) for word in column.words]
    return Column(column.values, floats) if np.isfinite(floats).all() else column


def _beyond_int64(array: Any) -> bool:
    return pa.types.is_uint64(array.type) and bool((_numpy(array) > np.uint64(np.iinfo(np.int64).max)).any())


def _decoded(word: str | bytes | None) -> str | None:
    if not isinstance(word, bytes):
        return word
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None


def to_float(word: str) -> float:
    """Return the number that a text spells, NaN if it spells none; Python's 1_000 is no number in files."""
    try:
        return float(word) if "_" not in word else float("nan")
    except ValueError:
        return float("nan")


def _floats(column: Column) -> NDArray[np.float64]:
    if column.words is None:
        return column.values.astype(np.float64)
    found: NDArray[np.float64] = np.array([*column.words, np.nan], dtype=np.float64)[column.values]
    return found


def _numpy(array: Any) -> NDArray[Any]:
    zero = False if pa.types.is_boolean(array.type) else 0
    values: NDArray[Any] = array.fill_null(zero).to_numpy(zero_copy_only=False)
    return values


def _nulls(array: Any) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return nulls


def with_missing(values: NDArray[Any], missing: NDArray[np.bool_]) -> Column:
    """Return values[n] as a column with none where missing bool[n] says so."""
    if not missing.any():
        return Column(values)
    distinct, codes = np.unique(values, return_inverse=True)
    return Column(np.where(missing, -1, codes), distinct.tolist())
