"""The thread that keeps a vector index quick and honest: it builds lists, compares them with exact search, and decides.

An `Engine` without threads has none: there, as in `replay`, every search is exact, so that answers are a function of
what was published.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter

import numpy as np

from stream_reco import metrics
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.vector_index import AskedQuery, VectorIndex

_LOGGER = logging.getLogger(__name__)

RECALL_AT = 400
"""Recall is of so many nearest, more than any source asks for by default: of fewer it is higher."""
_SHARES = tuple(2.0 ** (-half / 2) for half in range(14, 1, -1))
"""Shares of the rows that a search may look at, from 1/128 to a half; beyond that exact search takes as long."""
_AIM, _PLENTY = 0.965, 0.985
"""Recall below which more is looked at, and above which less is: what is aimed at lies well above the bound."""
_COMPARED = 2
"""Queries that are compared in one turn: of a million rows, 20 ms each."""
_WINDOW, _FEWEST = 32, 8
"""Newest comparisons that recall is the mean of, and how many there have to be before it decides anything."""
_CHANGED = 2.0
"""Lists are built again when so many times as many vectors as there are have changed: their pages are scattered."""
_GROWN = 2.0
"""Or when there are so many times as many vectors as they were built for, or as few."""
_DRIFTED = 4
"""Or when a quarter of them changed and so many steps of `_SHARES` more than at first have to be looked at."""
_TURN_SECONDS, _AFTER_FAILURE_SECONDS = 1.0, 60.0


class IndexUpkeep:
    """Looks after the index that `index_of` returns, which may be another one at each turn, once a second.

    `turn` may be called by hand instead of `start`.
    """

    def __init__(self, index_of: Callable[[], VectorIndex], settings: RetrieveSettings) -> None:
        self._index_of = index_of
        self._settings = settings
        self._index: VectorIndex | None = None
        self._newest: deque[float] = deque(maxlen=_WINDOW)
        """Recall of the newest queries that were compared, whatever was looked at for them."""
        self._compared: deque[float] = deque(maxlen=_WINDOW)
        """Of those for which as much was looked at as is now."""
        self._level = self._first_level = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vector-index", daemon=True)

    def start(self) -> None:
        """Begin on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the build that it may be in."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait = _TURN_SECONDS
        while not self._stop.wait(wait):
            wait = _TURN_SECONDS
            try:
                self.turn()
            except Exception:
                # Exact search answers whatever becomes of the lists.
                _LOGGER.exception("the lists of the vector index could not be built; searches go on without new ones")
                metrics.VECTOR_BUILDS.labels("failed").inc()
                wait = _AFTER_FAILURE_SECONDS

    def turn(self) -> None:
        """Build what is due, then compare some of the newest queries, and act on it."""
        index = self._index_of()
        if index is not self._index:
            self._index = index
            self._newest.clear()
            self._compared.clear()
        if self._is_due(index):
            self._build(index)
        elif index.built and len(index) < self._settings.exact_below // 2:
            index.drop_lists()
        self._compare(index)
        if not index.built:
            metrics.VECTOR_RECALL.set(1.0)
        metrics.VECTORS.set(len(index))
        metrics.VECTOR_LIST_BYTES.set(index.lists_nbytes)
        metrics.VECTOR_SHARE.set(index.share if index.built and index.searches_lists else 1.0)

    def _is_due(self, index: VectorIndex) -> bool:
        """Whether lists are worth their while and there are none, or they have degraded."""
        size, built = len(index), index.built
        if size < max(self._settings.exact_below, 1):
            return False
        misses = self._level - self._first_level >= _DRIFTED or not index.searches_lists
        drifted = misses and index.changed * 4 >= size
        return not built or drifted or not built / _GROWN <= size <= built * _GROWN or index.changed >= _CHANGED * size

    def _build(self, index: VectorIndex) -> None:
        start = perf_counter()
        index.build()
        self._begin_with(index)
        seconds = perf_counter() - start
        metrics.VECTOR_BUILDS.labels("done").inc()
        metrics.VECTOR_BUILD_SECONDS.observe(seconds)
        _LOGGER.info(
            "lists of %d vectors built in %.1f s; a search looks at %.1f %% of them%s",
            len(index),
            seconds,
            100 * index.share,
            "" if index.searches_lists else ", and would miss too many: searches stay exact",
        )

    def _begin_with(self, index: VectorIndex) -> None:
        """The least share that finds enough for the newest queries and for some of the vectors."""
        found = [index.recalls(asked, RECALL_AT, _SHARES) for asked in [*index.asked, *index.some_vectors(_FEWEST)]]
        recalls = [one for one in found if one is not None]
        if not recalls:  # changes came faster than comparisons: from the middle, and comparisons go on
            self._first_level = len(_SHARES) // 2
        else:
            means = np.mean(recalls, axis=0)
            self._first_level = int(np.argmax(means >= _AIM)) if (means >= _AIM).any() else len(_SHARES) - 1
            index.searches_lists = bool(means[self._first_level] >= self._settings.least_recall)
        self._set_level(index, self._first_level)

    def _set_level(self, index: VectorIndex, level: int) -> None:
        self._level = min(max(level, 0), len(_SHARES) - 1)
        index.share = _SHARES[self._level]
        self._compared.clear()

    def _compare(self, index: VectorIndex) -> None:
        asked = [index.asked.pop() for _ in range(min(_COMPARED, len(index.asked)))]
        index.asked.clear()
        if not index.built:
            return
        for one in asked:
            found = self._recall(index, one)
            if found is None:
                metrics.VECTOR_COMPARISONS.labels("overtaken").inc()
                continue
            self._newest.append(found)
            self._compared.append(found)
            metrics.VECTOR_COMPARISONS.labels("done").inc()
            metrics.VECTOR_RECALL.set(sum(self._newest) / len(self._newest))
        if len(self._compared) >= _FEWEST:
            self._decide(index, sum(self._compared) / len(self._compared))

    @staticmethod
    def _recall(index: VectorIndex, asked: AskedQuery) -> float | None:
        """Of one query; asked again once where a publication came between."""
        found = index.recalls(asked, RECALL_AT, [index.share]) or index.recalls(asked, RECALL_AT, [index.share])
        return None if found is None else found[0]

    def _decide(self, index: VectorIndex, recall: float) -> None:
        enough = recall >= self._settings.least_recall
        if enough != index.searches_lists:
            _LOGGER.warning(
                "the lists of the vector index find %.3f of the nearest: %s",
                recall,
                "searches use them" if enough else "exact search takes over until they find enough",
            )
            index.searches_lists = enough
        if recall < _AIM and self._level < len(_SHARES) - 1:
            self._set_level(index, self._level + (1 if enough else 2))
        elif recall > _PLENTY and self._level > 0 and len(self._compared) == _WINDOW:
            self._set_level(index, self._level - 1)
