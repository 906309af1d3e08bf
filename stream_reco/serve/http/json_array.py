"""Finds the elements of a JSON array without reading them, by a kernel that holds up no other thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_QUOTE, _BACKSLASH, _COMMA, _OPEN, _CLOSE = b'"\\,[]'
_DEPTH_STEP = np.zeros(256, dtype=np.int8)
"""By how much each byte changes the depth."""
_DEPTH_STEP[list(b"[{")] = 1
_DEPTH_STEP[list(b"]}")] = -1
_IS_SPACE = np.zeros(256, dtype=np.bool_)
_IS_SPACE[list(b" \t\r\n")] = True


class NotAnArrayError(ValueError):
    """The text does not begin with `[`, or its `]` is missing or is not its end."""


@dataclass(frozen=True)
class ArrayElements:
    """`count` elements; the first of them end at the offsets `ends` (int64[min(count, limit)]), at `,` or `]`.

    `first` is the offset at which the first begins.
    """

    count: int
    first: int
    ends: NDArray[np.int64]

    @property
    def longest(self) -> int:
        """No located element, with what stands around it, has more bytes."""
        return int(np.diff(self.ends, prepend=self.first).max(initial=0))


def elements_of(text: bytes | bytearray, limit: int) -> ArrayElements:
    """The elements of a JSON array, of which `limit` are located and the rest is counted.

    Brackets and strings alone are looked at, so that what lies between may still be no JSON. Raises `NotAnArrayError`.
    """
    ends = np.empty(min(limit, len(text) // 2 + 1), dtype=np.int64)
    count, first, stop = _scan(np.frombuffer(text, dtype=np.uint8), ends)
    if count < 0:
        raise NotAnArrayError(_problem(text, first, stop))
    return ArrayElements(count, first, ends[:count])


def _problem(text: bytes | bytearray, first: int, stop: int) -> str:
    if first < 0:
        found = repr(bytes(text[stop : stop + 1]))[1:] if stop < len(text) else "nothing"
        return f"the body begins with {found}: expected a JSON array of events; wrap one event in [ ]"
    if stop == len(text):
        return "the body is not JSON: its array has no end; send all of it"
    return f"the body is not JSON: byte {stop} is where its array ends, or behind it; send one array"


@njit(cache=True, nogil=True)
def _past_space(text: NDArray[np.uint8], at: int) -> int:
    while at < len(text) and _IS_SPACE[text[at]]:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _past_string(text: NDArray[np.uint8], at: int) -> int:
    """The offset behind the string whose opening quote lies before `at`."""
    while at < len(text) and text[at] != _QUOTE:
        at += 2 if text[at] == _BACKSLASH else 1
    return min(at + 1, len(text))


@njit(cache=True, nogil=True)
def _past_element(text: NDArray[np.uint8], at: int) -> int:
    """The offset of the comma or bracket that ends the element, or the end of the text."""
    depth = 0
    while at < len(text):
        byte = text[at]
        if byte == _QUOTE:
            at = _past_string(text, at + 1)
            continue
        depth += _DEPTH_STEP[byte]
        if depth < 0 or (depth == 0 and byte == _COMMA):
            return at
        at += 1
    return at


@njit(cache=True, nogil=True)
def _scan(text: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[int, int, int]:
    """How many elements there are (-1: no array), where the first begins (-1: nowhere), and where the scan stopped."""
    at = _past_space(text, 0)
    if at == len(text) or text[at] != _OPEN:
        return -1, -1, at
    first = at + 1
    at, count = _past_space(text, first), 0
    if at < len(text) and text[at] != _CLOSE:
        while at < len(text):
            at = _past_element(text, at)
            if count < len(ends):
                ends[count] = at
            count += 1
            if at == len(text) or text[at] != _COMMA:
                break
            at += 1
    if at == len(text) or text[at] != _CLOSE:
        return -1, first, at
    at = _past_space(text, at + 1)
    return (count if at == len(text) else -1), first, at
