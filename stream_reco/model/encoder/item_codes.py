"""Vectors of items in one byte a number, by slot."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import capacity_for, grown

_LEVELS = np.float32(127.0)


class ItemCodes:
    """Vectors in (−1, 1), each number a multiple of 1/127; an item without one has zeros."""

    def __init__(self, dim: int) -> None:
        self.codes = np.zeros((1024, dim), dtype=np.int8)
        """int8[capacity, dim]"""

    def put(self, slots: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        """Take over vectors float32[n, dim] of items."""
        self._make_room(int(slots.max(initial=0)))
        self.codes[slots] = np.rint(vectors * _LEVELS).astype(np.int8)

    def remove(self, slots: NDArray[np.int32]) -> None:
        """Items have no vector any more."""
        self.codes[slots[slots < len(self.codes)]] = 0

    def of(self, slots: NDArray[np.int32]) -> NDArray[np.int8]:
        """int8[n, dim]: a copy; zeros for slots that are unknown, such as −1."""
        known = (slots >= 0) & (slots < len(self.codes))
        found = np.zeros((len(slots), self.codes.shape[1]), dtype=np.int8)
        found[known] = self.codes[slots[known]]
        return found

    def cosines(self, slot: int, slots: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32[n]: cosines of one item with others; 0 where either has no vector."""
        found: NDArray[np.float32] = self.nearest(self.of(np.array([slot], dtype=np.int32)), slots)[0]
        return found

    def nearest(self, queries: NDArray[np.int8], among: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32[q, n]: cosines of vectors int8[q, dim] with the items of some slots int32[n]."""
        found: NDArray[np.float32] = cosines(queries, self.of(among))
        return found

    def _make_room(self, slot: int) -> None:
        if slot >= len(self.codes):
            self.codes = grown(self.codes, capacity_for(slot + 1, len(self.codes)), 0)

    def state(self) -> NDArray[np.int8]:
        """All vectors up to the last item that has one, for a checkpoint."""
        used = np.flatnonzero(self.codes.any(axis=1))
        return self.codes[: int(used[-1]) + 1 if len(used) else 0].copy()

    def restore(self, codes: NDArray[np.int8]) -> None:
        """Become what `state` was taken from."""
        self.codes = np.zeros((max(1024, capacity_for(len(codes), 1024)), self.codes.shape[1]), dtype=np.int8)
        self.codes[: len(codes)] = codes


@njit(cache=True, nogil=True)
def cosines(queries: NDArray[np.int8], codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """float32[q, n] of int8[q, dim] and int8[n, dim]; 0 where one of the two is zeros."""
    found = np.zeros((queries.shape[0], codes.shape[0]), dtype=np.float32)
    for one in range(codes.shape[0]):
        squares = np.int32(0)
        for place in range(codes.shape[1]):
            squares += np.int32(codes[one, place]) * np.int32(codes[one, place])
        if squares == 0:
            continue
        for query in range(queries.shape[0]):
            product, own = np.int32(0), np.int32(0)
            for place in range(codes.shape[1]):
                product += np.int32(queries[query, place]) * np.int32(codes[one, place])
                own += np.int32(queries[query, place]) * np.int32(queries[query, place])
            if own > 0:
                found[query, one] = product / np.sqrt(np.float64(squares) * own)
    return found
