"""The identity of a file's rows: a digest of all cells of a row, and how often the same row stood before it.

So a file has the same ids under every name, packed or not, and in whatever separator, quotes and encoding; two files
of one name share only rows that are equal in every cell. Cells count by what they say: integers by their value, in
text and in Parquet alike, other text by its UTF-8 bytes, floats and times by their value in Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from stream_reco.datasets.whole_numbers import integers_of, whole_column

Words = NDArray[np.uint64]

_BLOCK = 1 << 15
"""Rows that are mixed at a time, so that their numbers stay in the processor's cache."""
_HEX = 32
# Odd constants with well-spread bits: multiplication by them can be undone, so rows that differ in one cell differ.
_SPREAD, _LOW, _HIGH = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_HALF, _LESS = np.uint64(32), np.uint64(29)


class RowIds:
    """The ids of n rows: `digests` uint64[n, 2], and `repeats` int64[n], how often each stood before (None: never)."""

    def __init__(self, digests: Words, repeats: NDArray[np.int64] | None) -> None:
        self._digests, self._repeats = digests, repeats

    def take(self, rows: NDArray[np.int64]) -> RowIds:
        """Return the ids of these rows."""
        return RowIds(self._digests[rows], None if self._repeats is None else self._repeats[rows])

    def names(self, rows: NDArray[np.int64] | slice, suffix: str = "") -> list[str]:
        """Return the ids as texts, `suffix` behind each: 32 hexadecimal digits, and `+N` at the Nth repetition."""
        digits = self._digests[rows].astype(">u8").tobytes().hex()
        starts = range(0, len(digits), _HEX)
        if self._repeats is None:
            return [digits[at : at + _HEX] + suffix for at in starts]
        counted = zip(starts, self._repeats[rows].tolist(), strict=True)
        return [digits[at : at + _HEX] + (f"+{count}" if count else "") + suffix for at, count in counted]


def row_ids(names: Sequence[str], columns: Sequence[Any]) -> RowIds:
    """Return the ids of the rows of a file's columns (Arrow arrays of n cells each), in whatever order they stand.

    Names such as `#3` are those of places.
    """
    digests = np.zeros((2, len(columns[0])), dtype=np.uint64)
    for place in sorted(range(len(names)), key=lambda place: (names[place], place)):
        _absorb(digests, *_cells(columns[place]), np.uint64(xxhash.xxh3_64_intdigest(names[place].encode())))
    return numbered(np.ascontiguousarray(digests.T))


def numbered(digests: Words) -> RowIds:
    """Return the ids of rows with digests uint64[n, 2], equal ones numbered in their order."""
    ordered = np.sort(digests[:, 0])
    if not (ordered[1:] == ordered[:-1]).any():
        return RowIds(digests, None)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal rows stay in the order of the file
    by_digest = digests[order]
    starts = np.append(True, (by_digest[1:] != by_digest[:-1]).any(axis=1))
    place = np.arange(len(order))
    repeats = np.empty(len(order), dtype=np.int64)
    repeats[order] = place - np.maximum.accumulate(np.where(starts, place, 0))
    return RowIds(digests, repeats)


def text_digests(texts: list[bytes]) -> Words:
    """Return uint64[n, 2]: xxh3_128 of each text."""
    digits = b"".join(map(xxhash.xxh3_128_digest, texts))
    return np.frombuffer(digits, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _absorb(digests: Words, low: NDArray[Any], high: NDArray[Any], name: np.uint64) -> None:
    """Mix the cells of a column into digests uint64[2, n], by two functions that have nothing in common."""
    for first in range(0, digests.shape[1], _BLOCK):
        part = slice(first, first + _BLOCK)
        cells = _spread(low[part], name)
        to_low, to_high = digests[0, part], digests[1, part]
        to_low += cells
        to_low *= _LOW
        to_low ^= to_low >> _HALF
        to_high ^= cells if high is low else _spread(high[part], name)
        to_high *= _HIGH
        to_high ^= to_high >> _LESS


def _spread(cells: NDArray[Any], name: np.uint64) -> NDArray[np.uint64]:
    spread = cells.astype(np.int64, copy=False).view(np.uint64) ^ name
    spread *= _SPREAD
    spread ^= spread >> _HALF
    return spread


def _cells(array: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two numbers (n each) that stand for each cell; the same array twice where one says everything."""
    kind = array.type
    numbers = _numbers(array)
    if numbers is not None and not array.null_count:
        return numbers, numbers
    if numbers is not None:
        low, high = _of_words([b""])[:, 0].tolist()
        missing = array.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, low, numbers), np.where(missing, high, numbers)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
        array = pa.array([None if cell is None else repr(cell) for cell in array.to_pylist()], pa.string())
    encoded = array.fill_null("" if not pa.types.is_binary(array.type) else b"").dictionary_encode()
    words = encoded.dictionary.cast(pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary())
    low, high = _of_words(words.to_pylist())
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return low[codes], high[codes]


def _numbers(array: Any) -> NDArray[np.int64] | None:
    """Return int64[n] that stand for the cells of a column of numbers or times, None for other columns; null is 0."""
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit = "ns" if getattr(kind, "unit", "") == "ns" else "us"
        array = array.cast(pa.timestamp(unit, getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_floating(kind):
        floats = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        bits: NDArray[np.int64] = floats.view(np.int64)
        return bits
    elif not pa.types.is_integer(kind):
        return whole_column(array)
    filled = array.fill_null(0).to_numpy(zero_copy_only=False)
    numbers: NDArray[np.int64] = filled.astype(np.int64, copy=False)
    return numbers


def _of_words(words: list[bytes]) -> NDArray[np.int64]:
    """Return int64[2, n] for n texts: of one that spells an integer, that integer itself."""
    digests = np.ascontiguousarray(text_digests(words).view(np.int64).T)
    at, integers = integers_of(words)
    digests[:, at] = integers
    return digests
