"""What tables are given, checked: a dim, a time, keys, a delta."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.delta import Delta
from stream_reco.embedding.kernels.plain_numbers import whole
from stream_reco.embedding.table.row_store import plain

MOST_NUMBERS = 4096
FARTHEST_TIME = 1 << 46
Keys = NDArray[np.int64] | NDArray[np.uint64] | Sequence[int]


def checked_name(name: str) -> str:
    """A table's name. Raises TypeError for what is no text, ValueError for text that no file can hold."""
    if not isinstance(name, str):
        raise TypeError(f"a table's name is {name!r}, must be text; use str()")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a table's name is {name!r}, which UTF-8 cannot hold: {error.reason}") from error
    return name


def checked_dim(name: str, dim: int) -> int:
    """A dim that a table can have. Raises ValueError for another, TypeError for what is no whole number."""
    numbers = whole(f"table {name!r}", "dim", dim, "numbers")
    if not 1 <= numbers <= MOST_NUMBERS:
        raise ValueError(f"table {name!r}: dim is {dim}, must be 1 to {MOST_NUMBERS}")
    return numbers


def whole_ms(name: str, now: int) -> int:
    """A time as a plain int. Raises TypeError for a number with a fraction."""
    return whole(f"table {name!r}", "now", now, "milliseconds since the epoch")


def checked_time(name: str, now: int) -> int:
    """A time at which rows may be seen. Raises ValueError for one that is too far from the epoch, and as `whole_ms`."""
    time = whole_ms(name, now)
    if not -FARTHEST_TIME < time < FARTHEST_TIME:
        raise ValueError(f"table {name!r}: now is {now}, must be milliseconds since the epoch")
    return time


def checked_keys(name: str, keys: Keys) -> NDArray[np.int64]:
    """The keys as int64[n], as kernels take them. Raises ValueError for a shape, TypeError for a dtype that is not."""
    array = _array_of(keys)
    if array.ndim != 1:
        raise ValueError(f"table {name!r}: keys have shape {array.shape}, must be one-dimensional")
    if array.dtype == np.uint64:
        array = array.view(np.int64)
    elif array.dtype != np.int64:
        if len(array):
            text = f"table {name!r}: keys are {array.dtype}, must be int64 or uint64; text goes through key_of"
            raise TypeError(text)
        return np.empty(0, np.int64)
    return plain(array)


def _array_of(keys: Keys) -> NDArray[Any]:
    array = np.asarray(keys)
    # NumPy makes floats of a list that has keys on both sides of 2**63.
    unsure = not isinstance(keys, np.ndarray) and array.dtype.kind in "fO" and array.ndim == 1
    if unsure and all(isinstance(key, int) and -(1 << 63) <= key < 1 << 64 for key in keys):
        return np.array([int(key) % (1 << 64) for key in keys], np.uint64)
    return array


def check_delta(name: str, dim: int, delta: Delta) -> None:
    """Raise ValueError for a delta of another table."""
    if (delta.name, delta.dim) != (name, dim):
        theirs, ours = f"{delta.name!r} with dim {delta.dim}", f"{name!r} with dim {dim}"
        raise ValueError(f"a delta of table {theirs} does not fit table {ours}; check the model's settings")
