"""Rows of vectors in lists by the centroid that is nearest, so that a search looks at the nearest lists alone.

An inverted file (Jégou, Douze and Schmid, 2011) over vectors of a byte a number; what a search finds is scored again by
the vectors themselves, which stay where they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_layers import filled_up, linear, transposed
from stream_reco.retrieve.list_kernels import (
    NONE,
    PAGE,
    ListPages,
    ListQueries,
    add_up,
    put_rows,
    score_exactly,
    search_lists,
    take_row,
)

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_LISTS = 1024
"""Lists at most: to find a vector's list takes a product with all centroids, 2 µs of 1,024 in 32 dimensions."""
_ROOTS = 1.0
"""Lists a square root of rows."""
_SAMPLE = 32
"""Vectors a list that centroids are made of."""
_ROUNDS = 8
"""Of Lloyd's algorithm; more move few vectors."""
_DEVIATIONS = 2.0
"""A list promises the product with its centroid and so many standard deviations of its vectors' more: what is looked
for are its best, and of two with centroids alike the wider one has better ones. With 0, 1, 2 and 3 a look at 0.35 of a
million grouped vectors of several lengths finds 0.966, 0.974, 0.977 and 0.979 of the 400 nearest."""
_AT_ONCE = 512
"""Vectors that are compared with all centroids at once: their scores fit the cache."""
_GROWTH = 16
"""ListPages grow by one in so many."""
_OVER_FETCH, _OVER_FETCH_MORE = 1.25, 16
"""How many times k, and how many more, are taken by their codes, before the vectors decide."""
_ALL_ALLOWED = np.empty(0, np.bool_)


class Centroids:
    """Points float32[l, dim] that vectors are assigned to, the nearest by Euclidean distance.

    `spreads` float32[l]: how far from a point its vectors lie in one dimension, root mean square; 0 where unknown.
    """

    def __init__(self, points: Vectors, spreads: Vectors | None = None) -> None:
        self.points = points
        self.spreads = np.zeros(len(points), np.float32) if spreads is None else spreads
        self._transposed = transposed(points)
        self._halves = filled_up(np.float32(-0.5) * np.einsum("ld,ld->l", points, points))
        self._nothing = np.zeros_like(self._halves)

    @classmethod
    def of(cls, rows: int, sample: Vectors, seed: int) -> Centroids:
        """As many as so many rows are worth, by k-means (Lloyd) of a sample float32[n, dim] of them."""
        count = max(min(int(_ROOTS * rows**0.5), _LISTS, len(sample)), 1)
        rng = np.random.default_rng(seed)
        found = cls(sample[np.sort(rng.choice(len(sample), count, replace=False))].copy())
        for _ in range(_ROUNDS):
            sums, counts = np.zeros(found.points.shape, np.float64), np.zeros(count, np.int64)
            add_up(sample, found.nearest(sample), sums, counts)
            # One that nothing is near to stays where it is.
            means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
            found = cls(np.where(counts[:, None] > 0, means, found.points))
        return cls(found.points, found._spreads_of(sample))

    def _spreads_of(self, sample: Vectors) -> Vectors:
        lists = self.nearest(sample)
        squares = ((sample - self.points[lists]) ** 2).mean(axis=1)
        counts = np.maximum(np.bincount(lists, minlength=len(self.points)), 1)
        spreads = np.sqrt(np.bincount(lists, squares, minlength=len(self.points)) / counts)
        return spreads.astype(np.float32)

    @staticmethod
    def sample_of(rows: int, seed: int) -> Rows:
        """Which of so many rows centroids are made of: int64[n], ascending."""
        size = min(rows, _SAMPLE * min(int(_ROOTS * rows**0.5) + 1, _LISTS))
        return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))

    def nearest(self, vectors: Vectors) -> Rows:
        """int64[n]: of each vector float32[n, dim] the nearest."""
        found = np.empty(len(vectors), np.int64)
        for first in range(0, len(vectors), _AT_ONCE):
            part = np.ascontiguousarray(vectors[first : first + _AT_ONCE])
            scores = linear(part, self._transposed, self._halves)[:, : len(self.points)]
            found[first : first + len(part)] = scores.argmax(axis=1)
        return found

    def order(self, queries: Vectors) -> Rows:
        """int64[q, l]: all, those first that promise the largest inner products with each query float32[q, dim]."""
        promised = linear(queries, self._transposed, self._nothing)[:, : len(self.points)]
        lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries))
        promised += np.float32(_DEVIATIONS) * lengths[:, None] * self.spreads
        return np.argsort(-promised, axis=1)


class InvertedLists:
    """Rows by the centroid nearest to their vector; the vectors themselves are the caller's."""

    def __init__(self, centroids: Centroids, room: int) -> None:
        """room: rows that will come, so that memory is asked for once."""
        lists, dim = centroids.points.shape
        self.centroids = centroids
        self.built = room
        """Rows that they were made for."""
        pages = room // PAGE + lists + room // PAGE // _GROWTH
        self._pages = ListPages(
            codes=np.empty((0, dim, PAGE), np.int8),
            scales=np.empty((0, PAGE), np.float32),
            rows=np.empty((0, PAGE), np.int32),
            owner=np.empty(0, np.int32),
            next=np.empty(0, np.int32),
            head=np.full(lists + 1, NONE, np.int32),
            used=np.zeros(lists, np.int32),
            place=np.full(room, NONE, np.int32),
        )
        self._add_pages(pages)

    @property
    def nbytes(self) -> int:
        """Bytes of all that it has allocated."""
        return sum(array.nbytes for array in self._pages) + self.centroids.points.nbytes

    def put(self, rows: Rows, vectors: Vectors, lists: Rows | None = None) -> None:
        """Rows int64[n] have vectors float32[n, dim] now; of a repeated one the last.

        `lists` int64[n]: the nearest of each, where they are known.
        """
        if not len(rows):
            return
        most = int(rows.max())
        if most >= len(self._pages.place):
            place = np.full(max(most + 1, len(self._pages.place) * 9 // 8), NONE, np.int32)
            place[: len(self._pages.place)] = self._pages.place
            self._pages = self._pages._replace(place=place)
        lists = self.centroids.nearest(vectors) if lists is None else lists
        done = put_rows(self._pages, rows, lists, vectors)
        while done < len(rows):
            self._add_pages(len(self._pages.owner) // _GROWTH + 1)
            done += put_rows(self._pages, rows[done:], lists[done:], vectors[done:])

    def take(self, rows: Rows) -> None:
        """Rows int64[n] are no more; unknown ones are passed over."""
        for row in rows[rows < len(self._pages.place)].tolist():
            take_row(self._pages, row)

    def search(
        self,
        queries: Vectors,
        k: int,
        of: tuple[NDArray[np.int64], Vectors],
        allowed: NDArray[np.bool_] | None,
        budget: int,
    ) -> tuple[Rows, Vectors]:
        """At least the best k a query that a look at `budget` entries finds, in no order.

        `of`: the rows' keys int64[≥r] and vectors float32[≥r, dim]; `allowed` bool[any] as `VectorIndex.search` takes
        it. Rows int64[q, ≥k], −1 at −inf where there are fewer; scores float32[q, ≥k].
        """
        many = int(k * _OVER_FETCH) + _OVER_FETCH_MORE
        best = np.full((len(queries), many), -np.inf, np.float32)
        rows = np.full((len(queries), many), -1, np.int64)
        asked = ListQueries(
            queries, self.centroids.order(queries), _ALL_ALLOWED if allowed is None else allowed, budget
        )
        search_lists(self._pages, of[0], asked, best, rows)
        score_exactly(of[1], queries, rows, best)
        return rows, best

    def _add_pages(self, count: int) -> None:
        """So many free pages, before those that are free already."""
        old = self._pages
        before = len(old.owner)
        after = before + count
        grown = [np.empty((after, *array.shape[1:]), array.dtype) for array in old[:5]]
        for array, former in zip(grown, old[:5], strict=True):
            array[:before] = former
        codes, scales, rows, owner, following = grown
        # The last is taken first, so that of two pages that follow each other in a list the later is read first.
        following[before:] = np.arange(before - 1, after - 1)
        following[before] = old.head[-1]
        old.head[-1] = after - 1
        self._pages = ListPages(codes, scales, rows, owner, following, *old[5:])
