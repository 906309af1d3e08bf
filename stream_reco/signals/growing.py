"""Families of arrays that share their first axis and grow together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parts = dict[str, NDArray[Any]]


def grown(array: NDArray[Any], rows: int, fill: float) -> NDArray[Any]:
    """A copy of `array` with `rows` rows, the new ones filled with `fill`."""
    shape = (rows, *array.shape[1:])
    # Zeros take memory only where something is written.
    larger = np.full(shape, fill, dtype=array.dtype) if fill else np.zeros(shape, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def capacity_for(rows: int, present: int) -> int:
    """The capacity to grow to when `rows` are needed and `present` are there: doubling keeps growth linear overall."""
    capacity = max(present, 1024)
    while capacity < rows:
        capacity *= 2
    return capacity


def take(family: tuple[Any, ...], names: tuple[str, ...], rows: NDArray[np.int32], prefix: str) -> Parts:
    """Copies of the given rows of every array of a family, under `prefix` + its name."""
    return {prefix + name: np.ascontiguousarray(getattr(family, name)[rows]) for name in names}


def put(
    family: tuple[Any, ...],
    names: tuple[str, ...],
    rows: NDArray[np.int32],
    parts: Mapping[str, NDArray[Any]],
    prefix: str,
) -> None:
    """Overwrite the given rows by what `take` took.

    Raises ValueError where the parts were taken from arrays of another width: their settings differed.
    """
    for name in names:
        array, part = getattr(family, name), parts[prefix + name]
        if part.shape != (len(rows), *array.shape[1:]):
            raise ValueError(
                f"{prefix}{name} has shape {part.shape} where {(len(rows), *array.shape[1:])} belongs: it was made "
                "under other settings of the signals; take those, or begin with an empty folder"
            )
        array[rows] = part
