"""The formats in which serving replicas keep rows, what each of them loses, and the way there and back.

A packed row is a whole number of 32-bit words. They are typed float32, so that a `RowStore` keeps them as it keeps
vectors; they are bit patterns, not numbers, and may only be copied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16", "int8", "tanh8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Vectors = NDArray[np.float32]

_LEVELS = np.float32(127)
# Scales below are not normal numbers and would be inexact themselves; above, 127 scales are no longer finite.
_LEAST_SCALE = np.finfo(np.float32).tiny
_MOST_SCALE = np.nextafter(np.finfo(np.float32).max / _LEVELS, np.float32(0))
_QUIET = np.uint32(0x40)
# ±127 stand for all that lies beyond ±126.5, which has no end: they are read as the middle of what tanh leaves of it.
_TANH_END = 126.75 / 127
_ATANH = np.arctanh(
    np.clip(np.arange(256, dtype=np.uint8).view(np.int8) / 127, -_TANH_END, _TANH_END), dtype=np.float64
).astype(np.float32)


@dataclass(frozen=True)
class RowFormat:
    """How rows of one precision are packed.

    words(dim): 32-bit words of a packed row. pack: float32[n, dim] → float32[n, words]. unpack(packed, dim): back.
    A packed row of zero bits unpacks to zeros.
    """

    words: Callable[[int], int]
    pack: Callable[[Vectors], Vectors]
    unpack: Callable[[Vectors, int], Vectors]


def format_of(precision: str) -> RowFormat:
    """The format of that name. Raises ValueError for a name that is not in PRECISIONS."""
    for known in PRECISIONS:
        if precision == known:
            return _FORMATS[known]
    raise ValueError(f"precision is {precision!r}, must be one of {', '.join(PRECISIONS)}")


def pack_bfloat16(vectors: Vectors) -> Vectors:
    """Upper halves of float32, two a word, rounded to nearest, ties to even (Kalamkar et al. 2019, arXiv:1905.12322).

    The relative error is at most 2⁻⁸; of numbers below 2⁻¹²⁶ the absolute one at most 2⁻¹³⁴. Numbers beyond 3.39e38
    become infinite; infinities and NaN stay what they are.
    """
    bits = vectors.view(np.uint32)
    upper = bits >> 16
    halves = (bits + (0x7FFF + (upper & 1))) >> 16
    n, dim = vectors.shape
    packed = np.zeros((n, 2 * _words_of_bfloat16(dim)), np.uint16)
    packed[:, :dim] = np.where(np.isnan(vectors), upper | _QUIET, halves)
    return packed.view(np.float32)


def unpack_bfloat16(packed: Vectors, dim: int) -> Vectors:
    """What `pack_bfloat16` gave, as float32[n, dim]."""
    out = np.empty((len(packed), dim), np.uint32)
    _widen(packed.view(np.uint16), out)
    return out.view(np.float32)


def pack_int8(vectors: Vectors) -> Vectors:
    """A word with the row's scale, max|row| / 127, then each number as a whole multiple of it, four a word.

    The error of each number is at most half a scale: max|row| / 254, and 2⁻¹²⁷ where all are below 127 · 2⁻¹²⁶; to that
    comes the rounding of float32. What is not finite is read as the largest float32, NaN as 0.
    """
    numbers = _finite(vectors)
    n, dim = numbers.shape
    largest = np.abs(numbers).max(axis=1, initial=0)
    scales = np.clip(largest / _LEVELS, _LEAST_SCALE, _MOST_SCALE)
    packed = np.zeros((n, 4 * _words_of_int8(dim)), np.int8)
    packed[:, 4 : 4 + dim] = np.rint(numbers / scales[:, None])
    words: Vectors = packed.view(np.float32)
    words[:, 0] = scales
    return words


def unpack_int8(packed: Vectors, dim: int) -> Vectors:
    """What `pack_int8` gave, as float32[n, dim]."""
    out = np.empty((len(packed), dim), np.float32)
    _multiply(packed, packed.view(np.int8), out)
    return out


def pack_tanh8(vectors: Vectors) -> Vectors:
    """tanh(x) × 127 as a whole number, four a word: one scale for all rows, finest near zero.

    |tanh(x) − tanh(x̂)| ≤ 1/254, the rounding of float32 aside. For x itself that is at most 0.0051 up to |x| = 0.5,
    0.01 up to 1, 0.05 up to 2 and 0.35 up to 3.46. |x| below 0.0039 is read as 0, above 3.12 as 3.46, and NaN as 0.
    """
    numbers = _finite(vectors)
    n, dim = numbers.shape
    packed = np.zeros((n, 4 * _words_of_tanh8(dim)), np.int8)
    packed[:, :dim] = np.rint(np.tanh(numbers) * _LEVELS)
    return packed.view(np.float32)


def unpack_tanh8(packed: Vectors, dim: int) -> Vectors:
    """What `pack_tanh8` gave, as float32[n, dim]; never infinite."""
    out = np.empty((len(packed), dim), np.float32)
    _look_up(packed.view(np.uint8), _ATANH, out)
    return out


def _words_of_bfloat16(dim: int) -> int:
    return -(-dim // 2)


def _words_of_int8(dim: int) -> int:
    return 1 + -(-dim // 4)


def _words_of_tanh8(dim: int) -> int:
    return -(-dim // 4)


def _finite(vectors: Vectors) -> Vectors:
    return vectors if np.isfinite(vectors).all() else np.nan_to_num(vectors)


@njit(cache=True, nogil=True)
def _widen(halves: NDArray[np.uint16], out: NDArray[np.uint32]) -> None:
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = np.uint32(halves[i, j]) << np.uint32(16)


@njit(cache=True, nogil=True)
def _multiply(words: Vectors, packed: NDArray[np.int8], out: Vectors) -> None:
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = words[i, 0] * np.float32(packed[i, 4 + j])


@njit(cache=True, nogil=True)
def _look_up(packed: NDArray[np.uint8], values: Vectors, out: Vectors) -> None:
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = values[packed[i, j]]


_FORMATS: Mapping[Precision, RowFormat] = {
    "float32": RowFormat(lambda dim: dim, lambda vectors: vectors, lambda packed, _: packed),
    "bfloat16": RowFormat(_words_of_bfloat16, pack_bfloat16, unpack_bfloat16),
    "int8": RowFormat(_words_of_int8, pack_int8, unpack_int8),
    "tanh8": RowFormat(_words_of_tanh8, pack_tanh8, unpack_tanh8),
}
