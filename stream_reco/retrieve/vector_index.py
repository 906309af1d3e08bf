"""The nearest vectors by inner product, exact while there are few, by HNSW when there are many.

Updating an HNSW graph in place is slow and rots its recall, so the graph is a snapshot that is only ever rebuilt whole.
Rows changed since are masked in it and searched exactly.
"""

import threading
from typing import Self

import hnswlib
import numpy as np
import numpy.typing as npt

from stream_reco.retrieve.exact_rows import NO_KEY, ExactRows, allowed_keys

__all__ = ["NO_KEY", "VectorIndex"]

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]

_OVER_FETCH, _OVER_FETCH_MORE = 1.3, 20
"""How many times k, over the share that is allowed, a graph is asked for, and how many more than that."""
_EXACT_SHARE = 0.1
"""Share of allowed keys below which they are searched exactly: a product with a tenth of the rows is as quick."""
_SMALLEST_NORM = np.float32(1e-12)
"""Vectors shorter than this are zeros but for rounding."""


class VectorIndex:
    """Keys with a vector each, searched by inner product.

    Below `exact_below` keys a search is one exact matrix product. From there on it asks an HNSW graph (Malkov and
    Yashunin, 2016; `m` links, `ef_construction` and `ef` candidates, the latter at least 5k) that `rebuild` makes of
    the rows of that moment, and exactly the rows changed since. Until the first graph stands, searches stay exact. With
    `background` a thread of the index rebuilds when it is due (`close` ends it); without, the caller calls `rebuild`
    when `due`, on a thread of its own if it likes. A graph built by one of `threads` is the same every time.

    All methods may be called from any thread. A search sees each `upsert` and `remove` whole or not at all.
    """

    def __init__(
        self,
        dim: int,
        exact_below: int = 100_000,
        *,
        rebuild_after: float = 0.1,
        m: int = 24,
        ef_construction: int = 200,
        ef: int = 800,
        seed: int = 0,
        threads: int = 1,
        background: bool = False,
    ) -> None:
        if dim < 1 or exact_below < 0 or not 0 < rebuild_after <= 1:
            raise ValueError(
                f"dim {dim} must be positive, exact_below {exact_below} not negative, rebuild_after {rebuild_after} "
                "in (0, 1]"
            )
        self.dim = dim
        self._exact_below = exact_below
        self._rebuild_after = rebuild_after
        self._graph_settings = {"M": m, "ef_construction": ef_construction, "random_seed": seed}
        self._ef = ef
        self._threads = threads
        self._all = ExactRows(dim)
        self._fresh = ExactRows(dim)
        self._graph: hnswlib.Index | None = None
        self._label_of: dict[int, int] = {}
        self._graph_keys: Keys = np.empty(0, np.int64)
        self._changed: set[int] = set()
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._work, name="vector-index", daemon=True)
            self._thread.start()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: int) -> bool:
        return key in self._all.row_of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def due(self) -> bool:
        """Whether a rebuild is worth its while: many keys and no graph, or a share of `rebuild_after` changed since."""
        if len(self._all) < max(self._exact_below, 1):
            return False
        return self._graph is None or len(self._changed) >= self._rebuild_after * len(self._all)

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
        with self._lock:
            self._all.upsert(keys, vectors)
            self._note(keys)
            if self._graph is not None:
                self._fresh.upsert(keys, vectors)
        self._tell()

    def remove(self, keys: Keys) -> None:
        """Takes keys int64[n] out; unknown ones are ignored."""
        keys = np.asarray(keys, np.int64)
        with self._lock:
            self._all.remove(keys)
            self._fresh.remove(keys)
            self._note(keys)
        self._tell()

    def vectors_of(self, keys: npt.NDArray[np.integer]) -> Vectors:
        """Vectors float32[n, dim] of keys int[n]; zeros for unknown ones."""
        with self._lock:
            rows = self._all.rows(np.asarray(keys, np.int64))
            found = np.zeros((len(rows), self.dim), np.float32)
            found[rows >= 0] = self._all.vectors[rows[rows >= 0]]
        return found

    def directions_of(self, keys: npt.NDArray[np.integer]) -> Vectors:
        """The same with length 1; zeros stay zeros."""
        vectors = self.vectors_of(keys)
        directions: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SMALLEST_NORM)
        return directions

    def search(self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None) -> tuple[Keys, Vectors]:
        """The k keys with the largest inner products, the best first: keys int64[q, k] and scores float32[q, k].

        `queries` float32[q, dim]; `allowed` bool[any] says of each key below its length whether it may be found, no
        other key is then, and negative keys must not be in the index. Where there are fewer keys than k the rest is key
        −1 at score −inf (−1 may be a key itself; the score decides). Raises ValueError on another shape.
        """
        queries = self._checked(queries, k)
        with self._lock:
            rows = None if allowed is None else self._all.allowed_rows(allowed)
            if self._graph is None or len(self._all) < self._exact_below:
                keys, scores = self._all.search(queries, k, rows)
            elif rows is None or allowed is None:
                keys, scores = self._search_graph(queries, k)
            else:
                keys, scores = self._search_allowed(queries, k, allowed, rows)
        return _best_first(keys, scores, k)

    def search_among(self, queries: Vectors, k: int, among: npt.NDArray[np.integer]) -> tuple[Keys, Vectors]:
        """The same among few distinct keys int[m], exactly; unknown and negative ones are passed over."""
        queries = self._checked(queries, k)
        with self._lock:
            return _best_first(*self._all.search(queries, k, self._all.known_rows(among)), k)

    def _checked(self, queries: Vectors, k: int) -> Vectors:
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim or k < 0:
            raise ValueError(f"queries {queries.shape} must be [any, {self.dim}] and k {k} not negative")
        return queries

    def rebuild(self) -> None:
        """Makes a graph of all rows as they are now and swaps it in; searches and changes go on meanwhile."""
        with self._building:
            with self._lock:
                n = len(self._all)
                keys, vectors = self._all.keys[:n].copy(), self._all.vectors[:n].copy()
                before, self._changed = self._changed, set()
            try:
                graph = self._build(vectors)
            except BaseException:
                # The graph in use stays, and so does what has changed since it was made.
                with self._lock:
                    self._changed |= before
                raise
            with self._lock:
                self._swap(graph, keys)

    def close(self) -> None:
        """Ends the index's own thread, after the rebuild it may be in."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _build(self, vectors: Vectors) -> hnswlib.Index | None:
        if not len(vectors):
            return None
        graph = hnswlib.Index(space="ip", dim=self.dim)
        graph.init_index(max_elements=len(vectors), **self._graph_settings)
        graph.add_items(vectors, np.arange(len(vectors)), num_threads=self._threads)
        graph.set_ef(self._ef)
        graph.set_num_threads(1)
        return graph

    def _swap(self, graph: hnswlib.Index | None, keys: Keys) -> None:
        self._graph, self._graph_keys = graph, keys
        self._label_of = dict(zip(keys.tolist(), range(len(keys)), strict=True))
        changed, self._changed = self._changed, set()
        self._fresh = ExactRows(self.dim)
        since = np.array(sorted(changed), np.int64)
        self._note(since)
        rows = self._all.rows(since)
        if graph is not None:
            self._fresh.upsert(since[rows >= 0], self._all.vectors[rows[rows >= 0]])

    def _note(self, keys: Keys) -> None:
        """Remembers that keys are no more as the graph has them, and masks them there."""
        for key in keys.tolist():
            self._changed.add(key)
            label = self._label_of.pop(key, None)
            if label is not None and self._graph is not None:
                self._graph.mark_deleted(label)

    def _search_graph(self, queries: Vectors, k: int) -> tuple[Keys, Vectors]:
        assert self._graph is not None
        fresh = self._fresh.search(queries, k)
        wanted = min(k, len(self._label_of))
        if not wanted or not len(queries):
            return fresh
        try:
            self._graph.set_ef(max(self._ef, 5 * wanted))
            labels, distances = self._graph.knn_query(queries, wanted, num_threads=1)
        except RuntimeError:
            # With most of the graph masked it may not find as many as there are; all rows are still at hand.
            return self._all.search(queries, k)
        scores = (1.0 - distances).astype(np.float32)
        return np.hstack([fresh[0], self._graph_keys[labels.astype(np.int64)]]), np.hstack([fresh[1], scores])

    def _search_allowed(
        self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_], rows: Keys
    ) -> tuple[Keys, Vectors]:
        """As many more are asked of the graph as are likely to be left over; it cannot leave them out itself.

        hnswlib's own filter is a Python function, called for each of thousands of keys that a search visits.
        """
        many = int(k * len(self._all) / max(len(rows), 1) * _OVER_FETCH) + _OVER_FETCH_MORE
        if len(rows) < _EXACT_SHARE * len(self._all) or many > self._ef:
            return self._all.search(queries, k, rows)
        keys, scores = self._search_graph(queries, many)
        scores[~allowed_keys(keys, allowed)] = -np.inf
        if (np.isfinite(scores).sum(axis=1) < min(k, len(rows))).any():
            return self._all.search(queries, k, rows)
        keys[np.isneginf(scores)] = NO_KEY
        return keys, scores

    def _tell(self) -> None:
        if self._thread is not None and self.due:
            self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closed:
                return
            if self.due:
                self.rebuild()


def _best_first(keys: Keys, scores: Vectors, k: int) -> tuple[Keys, Vectors]:
    # Equal scores go by key, so that the order of insertion does not show.
    order = np.lexsort((keys, -scores), axis=1)[:, :k]
    return np.take_along_axis(keys, order, axis=1), np.take_along_axis(scores, order, axis=1)
