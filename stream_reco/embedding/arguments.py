"""What tables are given, checked: a dim, keys, a delta."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.delta import Delta
from stream_reco.embedding.store import plain

MOST_NUMBERS = 4096
Keys = NDArray[np.int64] | NDArray[np.uint64] | Sequence[int]


def check_dim(name: str, dim: int) -> None:
    """Raise ValueError for a dim that no table can have."""
    if not 1 <= dim <= MOST_NUMBERS:
        raise ValueError(f"table {name!r}: dim is {dim}, must be 1 to {MOST_NUMBERS}")


def checked_keys(name: str, keys: Keys) -> NDArray[np.int64]:
    """The keys as int64[n], as kernels take them. Raises ValueError for a shape, TypeError for a dtype that is not."""
    array = np.asarray(keys)
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


def check_delta(name: str, dim: int, delta: Delta) -> None:
    """Raise ValueError for a delta of another table."""
    if (delta.name, delta.dim) != (name, dim):
        theirs, ours = f"{delta.name!r} with dim {delta.dim}", f"{name!r} with dim {dim}"
        raise ValueError(f"a delta of table {theirs} does not fit table {ours}; check the model's settings")
