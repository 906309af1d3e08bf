"""The nearest vectors by inner product: exact, or by inverted lists where there are many and somebody builds them.

There is one copy of the vectors. Lists hold what finds rows, a byte a number, and follow each change at once.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_reco import metrics
from stream_reco.retrieve.exact_rows import NO_KEY, ExactRows, allowed_keys, best_first
from stream_reco.retrieve.inverted_lists import InvertedLists
from stream_reco.retrieve.list_build import build_lists
from stream_reco.sync.read_write_lock import ReadersWriterLock

__all__ = ["NO_KEY", "AskedQuery", "VectorIndex"]

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]
Allowed = npt.NDArray[np.bool_]

_EXACT_SHARE = 0.1
"""Share of allowed keys below which they are searched exactly: a product with a tenth of the rows is as quick."""
_KEPT_QUERIES = 16
"""Newest queries that are kept until somebody compares what lists find for them with what there is."""
_COMPARED_AT_ONCE = 32_768
"""Rows that an exact comparison looks at before it lets a change in: a millisecond's work."""
_BY_LISTS, _EXACTLY = (metrics.VECTOR_SEARCHES.labels(way) for way in ("lists", "exact"))


@dataclass(frozen=True, eq=False)
class AskedQuery:
    """One query of a search, to be searched for again."""

    vector: Vectors
    """float32[1, dim]"""
    allowed: Allowed | None


class VectorIndex:
    """Keys with a vector each, searched by inner product.

    A search is one exact matrix product, until `build` has made lists of the rows and `searches_lists` is set. From
    then on it looks at `share` of the rows, in the lists whose centroids are nearest, and scores what it finds by the
    vectors themselves. Changes are in the lists before `upsert` or `remove` returns.

    All methods may be called from any thread. A search sees each `upsert` and `remove` whole or not at all.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim {dim} must be positive")
        self.dim = dim
        self.searches_lists = False
        """Whether searches trust the lists; without lists they are exact all the same."""
        self.share = 1.0
        """Share of the rows that a search by lists looks at."""
        self.changed = 0
        """Vectors that were set or removed since the lists were built."""
        self.asked: deque[AskedQuery] = deque(maxlen=_KEPT_QUERIES)
        """Some of the newest queries: as many as there is room for, in turn one of each search."""
        self._all = ExactRows(dim)
        self._lists: InvertedLists | None = None
        self._touched: list[Keys] | None = None
        """Rows that changed while lists are being built; None while none are."""
        self._version = 0
        self._turn = itertools.count()
        self._lock = ReadersWriterLock()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: int) -> bool:
        return key in self._all

    @property
    def built(self) -> int:
        """Rows that there were when the lists were built; 0 without lists."""
        lists = self._lists
        return 0 if lists is None else lists.built

    @property
    def lists_nbytes(self) -> int:
        """Bytes of the lists, without the vectors."""
        lists = self._lists
        return 0 if lists is None else lists.nbytes

    def upsert(self, keys: Keys, vectors: Vectors) -> None:
        """Sets the vectors float32[n, dim] of keys int64[n]; of a repeated key the last one.

        Raises ValueError, and changes nothing, where shapes differ or a number is not finite.
        """
        keys, vectors = np.asarray(keys, np.int64), np.asarray(vectors, np.float32)
        if vectors.shape != (len(keys), self.dim):
            raise ValueError(f"{len(keys)} keys need vectors ({len(keys)}, {self.dim}), not {vectors.shape}")
        if not np.isfinite(vectors).all():
            bad = keys[~np.isfinite(vectors).all(axis=1)][0]
            raise ValueError(f"the vector of key {bad} is not finite and would be near to nothing; leave it out")
        with self._lock.writing():
            self._follow(self._all.upsert(keys, vectors))

    def remove(self, keys: Keys) -> None:
        """Takes keys int64[n] out; unknown ones are ignored."""
        if not len(keys):
            return
        with self._lock.writing():
            self._follow(self._all.remove(np.asarray(keys, np.int64)))

    def vectors_of(self, keys: npt.NDArray[np.integer]) -> Vectors:
        """Vectors float32[n, dim] of keys int[n]; zeros for unknown ones."""
        with self._lock.reading():
            rows = self._all.rows(np.asarray(keys, np.int64))
            found = np.zeros((len(rows), self.dim), np.float32)
            found[rows >= 0] = self._all.vectors[rows[rows >= 0]]
        return found

    def directions_of(self, keys: npt.NDArray[np.integer]) -> Vectors:
        """The same with length 1; zeros stay zeros."""
        with self._lock.reading():
            return self._all.directions(self._all.rows(keys))

    def search(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Keys, Vectors]:
        """The k keys with the largest inner products, the best first: keys int64[q, k] and scores float32[q, k].

        `queries` float32[q, dim]; `allowed` bool[any] says of each key below its length whether it may be found, no
        other key is then, and negative keys must not be in the index. Where there are fewer keys than k the rest is key
        −1 at score −inf (−1 may be a key itself; the score decides). Raises ValueError on another shape.
        """
        queries = self._checked(queries, k)
        if len(queries) and len(self.asked) < _KEPT_QUERIES:
            one = next(self._turn) % len(queries)
            self.asked.append(AskedQuery(queries[one : one + 1].copy(), allowed))
        with self._lock.reading():
            share = self._share_of(allowed) if self.searches_lists else 0.0
            if self._lists is not None and share > 0.0 and len(queries) and k:
                _BY_LISTS.inc(len(queries))
                return self._by_lists(self._lists, queries, k, allowed, share)
            _EXACTLY.inc(len(queries))
            rows = None if allowed is None else self._all.allowed_rows(allowed)
            return self._all.search(queries, k, rows)

    def search_among(self, queries: Vectors, k: int, among: npt.NDArray[np.integer]) -> tuple[Keys, Vectors]:
        """The same among few distinct keys int[m], exactly; unknown and negative ones are passed over."""
        queries = self._checked(queries, k)
        with self._lock.reading():
            return self._all.search(queries, k, self._all.known_rows(among))

    def build(self, seed: int = 0) -> None:
        """Makes lists of all rows as they are now and swaps them in; searches and changes go on meanwhile.

        For one thread at a time. Where it fails, lists in use stay as they are.
        """
        with self._lock.writing():
            self._touched = []
            before = self.changed
        try:
            lists = build_lists(self._all, self._lock.reading, seed) if len(self) else None
            with self._lock.writing():
                if lists is not None:
                    self._put(lists, np.concatenate([np.empty(0, np.int64), *self._touched]))
                self._lists = lists
                self.changed -= before
                self._version += 1
        finally:
            self._touched = None

    def drop_lists(self) -> None:
        """Searches are exact from now on."""
        with self._lock.writing():
            self._lists = None
            self._version += 1
        self.searches_lists = False

    def recalls(self, asked: AskedQuery, k: int, shares: Sequence[float]) -> list[float] | None:
        """The share of the k nearest that lists find with each of `shares`, compared with exact search.

        None without lists, where too few are allowed for them, and where something changed meanwhile.
        """
        with self._lock.reading():
            lists, version, count = self._lists, self._version, len(self._all)
            if lists is None:
                return None
            allowed, passing = asked.allowed, self._passing(asked.allowed)
            if passing < _EXACT_SHARE:
                return None
            budgets = [share / passing for share in shares]
            found = [self._by_lists(lists, asked.vector, k, allowed, budget)[0][0] for budget in budgets]
        best, rows = np.full((1, k), -np.inf, np.float32), np.full((1, k), -1, np.int64)
        for first in range(0, count, _COMPARED_AT_ONCE):
            with self._lock.reading():  # not for longer: changes do not wait
                if self._version != version:
                    return None
                part = range(first, min(first + _COMPARED_AT_ONCE, count))
                if allowed is None:
                    self._all.fold(asked.vector, best, rows, part)
                else:
                    keys = self._all.keys[part.start : part.stop]
                    self._all.fold(asked.vector, best, rows, first + np.flatnonzero(allowed_keys(keys, allowed)))
        with self._lock.reading():
            truth = self._all.keys_of(rows[rows >= 0])
            if self._version != version or not len(truth):
                return None
        return [float(np.isin(truth, keys).mean()) for keys in found]

    def some_vectors(self, count: int) -> list[AskedQuery]:
        """Vectors of so many of the rows, spread over all, as queries."""
        with self._lock.reading():
            rows = np.linspace(0, len(self._all) - 1, min(count, len(self._all)), dtype=np.int64)
            return [AskedQuery(self._all.vectors[row : row + 1].copy(), None) for row in rows.tolist()]

    def _checked(self, queries: Vectors, k: int) -> Vectors:
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim or k < 0:
            raise ValueError(f"queries {queries.shape} must be [any, {self.dim}] and k {k} not negative")
        return queries

    def _share_of(self, allowed: Allowed | None) -> float:
        """Share of the rows to look at; 0 where an exact search of the few allowed ones takes no longer.

        Where fewer may be found, as many more have to be looked at.
        """
        passing = self._passing(allowed)
        return 0.0 if passing < _EXACT_SHARE else self.share / passing

    @staticmethod
    def _passing(allowed: Allowed | None) -> float:
        return 1.0 if allowed is None else np.count_nonzero(allowed) / max(len(allowed), 1)

    def _by_lists(
        self, lists: InvertedLists, queries: Vectors, k: int, allowed: Allowed | None, share: float
    ) -> tuple[Keys, Vectors]:
        of = (self._all.keys, self._all.vectors)
        rows, scores = lists.search(queries, k, of, allowed, int(share * len(self._all)))
        found: tuple[Keys, Vectors] = best_first(self._all.keys_of(rows), scores, k)
        return found

    def _follow(self, rows: Keys) -> None:
        """What rows int64[n] hold has changed; rows from the last on are gone."""
        self._version += 1
        self.changed += len(rows)
        if self._touched is not None:
            self._touched.append(rows)
        if self._lists is not None:
            self._put(self._lists, rows)

    def _put(self, lists: InvertedLists, rows: Keys) -> None:
        rows = np.unique(rows)
        gone = rows >= len(self._all)
        lists.take(rows[gone])
        lists.put(rows[~gone], self._all.vectors[rows[~gone]])
