"""Vectors in one dense matrix, searched exactly: a matrix product and a selection that hardly costs more than it."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from stream_reco.retrieve.row_numbers import RowNumbers

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]

NO_KEY = -1
_SMALLEST_NORM = np.float32(1e-12)
"""Vectors shorter than this are zeros but for rounding."""
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


@njit(cache=True, nogil=True)
def best_first(keys: Keys, scores: Vectors, k: int) -> tuple[Keys, Vectors]:
    """At most the k best of each row of int64[q, n] and float32[q, n], best first.

    Equal scores go by key, so that the order of insertion does not show.
    """
    count = min(k, keys.shape[1])
    found, of_found = np.empty((len(keys), count), np.int64), np.empty((len(keys), count), np.float32)
    for q in range(len(keys)):
        order = np.argsort(-scores[q])
        ordered = keys[q][order]
        first = 0
        while first < count:
            after = first + 1
            while after < len(order) and scores[q, order[after]] == scores[q, order[first]]:
                after += 1
            if after - first > 1:
                ordered[first:after] = np.sort(ordered[first:after])
            first = after
        for place in range(count):
            found[q, place], of_found[q, place] = ordered[place], scores[q, order[place]]
    return found, of_found


@njit(cache=True, nogil=True)
def _fold(queries: Vectors, vectors: Vectors, among: Keys, part: tuple[int, int], best: Vectors, rows: Keys) -> None:
    """Searches a `part` (first, number) of the rows too, or where `among` int64[any] is not empty of what it lists.

    The best are min-heaps of scores float32[q, k] and rows int64[q, k].
    """
    begin, n = part
    count = queries.shape[0]
    step = min(max(_SCORES_AT_ONCE // count, _PIECE), n)
    filled = np.zeros((count + -count % _TOGETHER, queries.shape[1]), np.float32)
    filled[:count] = queries
    block = np.empty((filled.shape[0], step), np.float32)
    for first in range(begin, begin + n, step):
        width = min(step, begin + n - first)
        _multiply(filled, vectors, first, among, width, block)
        _select(block, width, first, among, best, rows)


@njit(cache=True, nogil=True)
def _nearest(
    queries: Vectors, k: int, of: tuple[Keys, Vectors], among: Keys, part: tuple[int, int]
) -> tuple[Keys, Vectors]:
    """The best k a query, best first; `of`: the rows' keys and vectors, the others as `_fold` takes them."""
    keys, vectors = of
    best = np.full((queries.shape[0], k), -np.inf, np.float32)
    rows = np.full((queries.shape[0], k), -1, np.int64)
    if part[1] and best.size:
        _fold(queries, vectors, among, part, best, rows)
    found = np.full((queries.shape[0], k), NO_KEY, np.int64)
    for q in range(queries.shape[0]):
        for place in range(k):
            if rows[q, place] >= 0:
                found[q, place] = keys[rows[q, place]]
    ordered: tuple[Keys, Vectors] = best_first(found, best, k)
    return ordered


@njit(cache=True, nogil=True)
def _directions(vectors: Vectors, rows: Keys) -> Vectors:
    """float32[n, dim]: rows int64[n] with length 1; zeros for row −1 and for what is zeros but for rounding."""
    found = np.zeros((rows.shape[0], vectors.shape[1]), np.float32)
    for place in range(rows.shape[0]):
        if rows[place] >= 0:
            square = np.float32(0.0)
            for at in range(vectors.shape[1]):
                square += vectors[rows[place], at] * vectors[rows[place], at]
            length = max(np.float32(math.sqrt(square)), _SMALLEST_NORM)
            for at in range(vectors.shape[1]):
                found[place, at] = vectors[rows[place], at] / length
    return found


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
        """The best k a query, best first; where there are fewer, keys −1 at −inf. `among` int64[m]: of those rows."""
        listed, part = (_ALL, (0, len(self))) if among is None else (among, (0, len(among)))
        found: tuple[Keys, Vectors] = _nearest(queries, k, (self.keys, self.vectors), listed, part)
        return found

    def directions(self, rows: Keys) -> Vectors:
        """float32[n, dim]: rows int64[n] with length 1; zeros of row −1, and zeros stay zeros."""
        found: Vectors = _directions(self.vectors, rows)
        return found

    def keys_of(self, rows: Keys) -> Keys:
        """Keys of rows int64[any], −1 of row −1."""
        return np.where(rows >= 0, self.keys.take(rows, mode="clip"), NO_KEY) if len(self.keys) else rows

    def fold(self, queries: Vectors, best: Vectors, rows: Keys, among: range | Keys) -> None:
        """Searches `among` some rows too: the best are min-heaps of scores float32[q, k] and rows int64[q, k]."""
        if len(among) and best.size:
            listed, begin = (_ALL, among.start) if isinstance(among, range) else (among, 0)
            _fold(queries, self.vectors, listed, (begin, len(among)), best, rows)

    def _reserve(self, used: int, size: int) -> None:
        if size > len(self.keys):
            room = max(size, 2 * len(self.keys), 64)
            keys, vectors = np.empty(room, np.int64), np.empty((room, self.vectors.shape[1]), np.float32)
            before = min(used, len(self.keys))
            keys[:before], vectors[:before] = self.keys[:before], self.vectors[:before]
            self.keys, self.vectors = keys, vectors
