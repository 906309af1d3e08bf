"""Vectors in one dense matrix, searched exactly: a matrix product and a selection that hardly costs more than it."""

import numpy as np
import numpy.typing as npt
from numba import njit

from stream_reco.retrieve.row_numbers import RowNumbers

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]

NO_KEY = -1
_ALL = np.empty(0, np.int64)
"""No list of rows: all of a range."""
_LOOK_UP = 128
"""Keys are looked up one by one where they are fewer than one in so many: each takes as long as a hundred of a mask."""
_SCORES_AT_ONCE = 1 << 18
"""Scores of one block of rows against all queries: 1 MB stays in the cache between product and selection."""
_PIECE = 64
"""Scores that are looked through for their largest at once."""
_TOGETHER = 4
"""Queries that a row is multiplied with once it is loaded, always: a score has the same bits whichever queries come
together. A library's product takes twice as long for so few, and brings threads that wait in loops."""


@njit(cache=True, nogil=True)
def sift_down(scores: Vectors, rows: Keys, score: float, row: int) -> None:
    """Puts a pair in the place of the root of a min-heap."""
    size = len(scores)
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and scores[child + 1] < scores[child]:
            child += 1
        if score <= scores[child]:
            break
        scores[at], rows[at] = scores[child], rows[child]
        at = child
    scores[at], rows[at] = score, row


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def largest(scores: Vectors) -> np.float32:
    most: np.float32 = scores[0]
    for score in scores:
        most = max(most, score)
    return most


@njit(cache=True, nogil=True)
def _select(block: Vectors, width: int, first: int, among: Keys, best: Vectors, rows: Keys) -> None:
    """Folds scores float32[q, width] into min-heaps float32[q, k] and int64[q, k]: of the rows from `first` on.

    Where `among` int64[any] is not empty, of the rows that it lists from `first` on.
    """
    for q in range(len(best)):
        for start in range(0, width, _PIECE):
            piece = block[q, start : min(start + _PIECE, width)]
            # Nearly every piece has nothing to offer, and a maximum is found eight scores at a time.
            if largest(piece) <= best[q, 0]:
                continue
            for i in range(len(piece)):
                if piece[i] > best[q, 0]:
                    row = among[first + start + i] if len(among) else first + start + i
                    sift_down(best[q], rows[q], piece[i], row)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _multiply(queries: Vectors, vectors: Vectors, first: int, among: Keys, width: int, block: Vectors) -> None:
    """Fills block float32[q, ≥width]: `queries` float32[q, dim] times rows from `first` on.

    Where `among` int64[any] is not empty, times the rows that it lists from `first` on. q is a multiple of `_TOGETHER`.
    """
    for i in range(width):
        row = vectors[among[first + i] if len(among) else first + i]
        for q in range(0, queries.shape[0], _TOGETHER):
            one, two, three, four = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for at in range(row.shape[0]):
                one += row[at] * queries[q, at]
                two += row[at] * queries[q + 1, at]
                three += row[at] * queries[q + 2, at]
                four += row[at] * queries[q + 3, at]
            block[q, i], block[q + 1, i], block[q + 2, i], block[q + 3, i] = one, two, three, four


def allowed_keys(keys: Keys, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """bool[of `keys`]: of which keys `allowed` bool[any] is true; of none at or beyond its length, or negative."""
    if not len(allowed):
        return np.zeros(keys.shape, np.bool_)
    return allowed.take(keys, mode="clip") & (keys >= 0) & (keys < len(allowed))


class ExactRows:
    """Row i of `vectors` float32[≥n, dim] belongs to keys[i]; beyond the n rows in use there is room to grow."""

    def __init__(self, dim: int) -> None:
        self.keys: Keys = np.empty(0, np.int64)
        self.vectors: Vectors = np.empty((0, dim), np.float32)
        self._numbers = RowNumbers()

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, key: int) -> bool:
        return key in self._numbers

    def upsert(self, keys: Keys, vectors: Vectors) -> Keys:
        """Sets vectors float32[n, dim] of keys int64[n], of a repeated key the last one; their rows int64[n]."""
        rows = self._numbers.add(keys)
        self._reserve(len(self), int(rows.max(initial=-1)) + 1)
        self.keys[rows] = keys
        self.vectors[rows] = vectors
        return rows

    def remove(self, keys: Keys) -> Keys:
        """Takes keys out; unknown ones are ignored. int64[m]: the rows that hold something else now, or nothing."""
        touched = []
        for key in keys.tolist():
            row, last = int(self.rows(np.array([key], np.int64))[0]), len(self) - 1
            if row < 0:
                continue
            # The last row fills the hole, so that the matrix stays dense.
            self._numbers.remove_last(key, int(self.keys[last]))
            self.keys[row], self.vectors[row] = self.keys[last], self.vectors[last]
            touched += [row, last]
        return np.array(touched, np.int64)

    def rows(self, keys: npt.NDArray[np.integer]) -> Keys:
        """Row numbers int64[n], −1 for unknown keys."""
        return self._numbers.of(keys)

    def known_rows(self, keys: npt.NDArray[np.integer]) -> Keys | None:
        """int64[m], ascending: rows of those of the distinct keys that are known and not negative; None where all are.

        In this order a search of all comes by them, so that of equal scores the same are kept.
        """
        keys = keys[keys >= 0]
        if len(keys) * _LOOK_UP < len(self):
            rows = self.rows(keys)
            return np.sort(rows[rows >= 0])
        allowed = np.zeros(int(keys.max(initial=-1)) + 1, np.bool_)
        allowed[keys] = True
        return self.allowed_rows(allowed)

    def allowed_rows(self, allowed: npt.NDArray[np.bool_]) -> Keys | None:
        """int64[m]: rows whose keys `allowed` allows; None where it allows all."""
        rows = np.flatnonzero(allowed_keys(self.keys[: len(self)], allowed))
        return None if len(rows) == len(self) else rows

    def search(self, queries: Vectors, k: int, among: Keys | None = None) -> tuple[Keys, Vectors]:
        """The best k a query, in no order; where there are fewer, keys −1 at −inf. `among` int64[m]: of those rows."""
        best = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        self.fold(queries, best, rows, range(len(self)) if among is None else among)
        return self.keys_of(rows), best

    def keys_of(self, rows: Keys) -> Keys:
        """Keys of rows int64[any], −1 of row −1."""
        return np.where(rows >= 0, self.keys.take(rows, mode="clip"), NO_KEY) if len(self.keys) else rows

    def fold(self, queries: Vectors, best: Vectors, rows: Keys, among: range | Keys) -> None:
        """Searches `among` some rows too: the best are min-heaps of scores float32[q, k] and rows int64[q, k]."""
        n = len(among)
        if not n or not best.size:
            return
        step = min(max(_SCORES_AT_ONCE // len(queries), _PIECE), n)
        filled = np.zeros((len(queries) + -len(queries) % _TOGETHER, queries.shape[1]), np.float32)
        filled[: len(queries)] = queries
        block = np.empty((len(filled), step), np.float32)
        listed, begin = (_ALL, among.start) if isinstance(among, range) else (among, 0)
        for first in range(begin, begin + n, step):
            width = min(step, begin + n - first)
            _multiply(filled, self.vectors, first, listed, width, block)
            _select(block, width, first, listed, best, rows)

    def _reserve(self, used: int, size: int) -> None:
        if size > len(self.keys):
            room = max(size, 2 * len(self.keys), 64)
            keys, vectors = np.empty(room, np.int64), np.empty((room, self.vectors.shape[1]), np.float32)
            before = min(used, len(self.keys))
            keys[:before], vectors[:before] = self.keys[:before], self.vectors[:before]
            self.keys, self.vectors = keys, vectors
