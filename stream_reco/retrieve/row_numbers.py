"""Which row of a matrix belongs to a key: an array where keys are small, as slots are, and a dictionary for others."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Keys = NDArray[np.int64]

_SMALL = 1 << 27
"""Keys from 0 up to here are looked up in an array, 4 bytes for each number up to the largest of them; a dictionary
takes 100 bytes a key and a tenth of a microsecond a look-up."""
_FEWEST = 1024
"""Numbers that the array has room for at first."""


@njit(cache=True, nogil=True)
def _small_rows(small: NDArray[np.int32], keys: NDArray[np.integer]) -> tuple[Keys, bool]:
    """Rows int64[n] of those of keys int[n] that are small, −1 of others, and whether all are."""
    rows, all_small = np.full(keys.shape[0], -1, np.int64), True
    for place in range(keys.shape[0]):
        if 0 <= keys[place] < small.shape[0]:
            rows[place] = small[keys[place]]
        elif keys[place] < 0 or keys[place] >= _SMALL:
            all_small = False
    return rows, all_small


class RowNumbers:
    """Rows 0, 1, 2, … of keys int64, in the order in which they came."""

    def __init__(self) -> None:
        self._small = np.full(_FEWEST, -1, np.int32)
        self._others: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: int) -> bool:
        return bool(self.of(np.array([key], np.int64))[0] >= 0)

    def of(self, keys: NDArray[np.integer]) -> Keys:
        """int64[n]: rows of keys int[n], −1 for unknown ones."""
        rows: Keys
        rows, all_small = _small_rows(self._small, keys)
        if not all_small:
            others = np.flatnonzero((keys < 0) | (keys >= _SMALL))
            rows[others] = [self._others.get(key, -1) for key in keys[others].tolist()]
        return rows

    def add(self, keys: Keys) -> Keys:
        """int64[n]: rows of keys int64[n], which may repeat; unknown ones get the next rows."""
        rows = self.of(keys)
        if (rows < 0).any():
            unknown, first, places = np.unique(keys[rows < 0], return_index=True, return_inverse=True)
            # In the order in which they came, and not in that of the keys.
            order = np.empty(len(unknown), np.int64)
            order[np.argsort(first)] = np.arange(self._count, self._count + len(unknown))
            self._set(unknown, order)
            rows[rows < 0] = order[places]
            self._count += len(unknown)
        return rows

    def remove_last(self, key: int, last: int) -> None:
        """Take out a key; `last`, which has the last row, gets its row."""
        pair = np.array([key, last], np.int64)
        row = int(self.of(pair[:1])[0])
        self._set(pair[1:], np.array([row], np.int64))
        self._set(pair[:1], np.array([-1], np.int64))
        self._count -= 1

    def _set(self, keys: Keys, rows: Keys) -> None:
        small = (keys >= 0) & (keys < _SMALL)
        most = int(keys[small].max(initial=0))
        if most >= len(self._small):
            grown = np.full(max(most + 1, len(self._small) * 3 // 2), -1, np.int32)
            grown[: len(self._small)] = self._small
            self._small = grown
        self._small[keys[small]] = rows[small]
        for key, row in zip(keys[~small].tolist(), rows[~small].tolist(), strict=True):
            if row < 0:
                self._others.pop(key, None)
            else:
                self._others[key] = row
