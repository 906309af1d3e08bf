"""The candidate sources, their names, and how their proposals become one list without doubles."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.signals.candidates import CONTEXTUAL, COVISIT, FRESH, TRENDING, Asked, Gatherer, ProposalLists
from stream_reco.signals.context import Context
from stream_reco.signals.signals import Signals

TOWER, INTERESTS = 16, 32
SOURCES = {
    "covisits": COVISIT,
    "interests": INTERESTS,
    "tower": TOWER,
    "trending": TRENDING,
    "context": CONTEXTUAL,
    "fresh": FRESH,
}
"""Name → bit. A candidate of several sources is named after the first of them here, the most personal one."""
_BROUGHT = np.array([[bool(bits & bit) for bit in SOURCES.values()] for bits in range(2 * INTERESTS)], dtype=np.int64)
"""[bits, source]: 1 where a candidate of these bits was brought by the source."""
_COUNTERS = [metrics.CANDIDATES.labels(name) for name in SOURCES]


class Retriever:
    """Collects the candidates of a request from all sources; any number of threads may ask it."""

    def __init__(self, settings: RetrieveSettings) -> None:
        """Raises ValueError where `without` names no source, or a number is negative."""
        unknown = sorted(set(settings.without) - set(SOURCES))
        if unknown:
            raise ValueError(f"retrieve.without names {unknown}; the sources are {sorted(SOURCES)}")
        for name in (*SOURCES, "limit"):
            number = getattr(settings, name)
            if number < 0:
                raise ValueError(f"retrieve.{name} is {number}: it must not be negative; 0 turns it off")
        self._settings = settings
        self._gather = Gatherer(
            settings.limit,
            (
                self._quota("trending"),
                self._quota("covisits"),
                self._quota("context"),
                self._quota("fresh"),
            ),
        )

    def _quota(self, source: str) -> int:
        return 0 if source in self._settings.without else int(getattr(self._settings, source))

    def near(
        self, index: VectorIndex, users: NDArray[np.float32], medoids: list[NDArray[np.float32]]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Proposals over vectors for g requests: slots int32[m] (−1 is none) and their source bits int32[m].

        `users` float32[g, d] are the users' tower vectors, `medoids` g arrays float32[m, d] of their drawn medoids.
        """
        by_user = _search(index, users, self._quota("tower"))
        counts = [len(vectors) for vectors in medoids]
        quota = self._quota("interests")
        flat = np.concatenate(medoids) if sum(counts) and quota else np.empty((0, index.dim), dtype=np.float32)
        shares = [-(-quota // count) if count else 0 for count in counts]
        by_medoid = _search(index, flat, quota)
        proposals = []
        first = 0
        for place, (count, share) in enumerate(zip(counts, shares, strict=True)):
            # The nearest of each medoid come before the second nearest of any, so that the quota cuts the farthest.
            mine = by_medoid[first : first + count, :share].T.ravel()[:quota]
            first += count
            slots = np.concatenate([by_user[place], mine])
            bits = np.repeat(np.array([TOWER, INTERESTS], dtype=np.int32), [len(by_user[place]), len(mine)])
            proposals.append((slots, bits))
        return proposals

    def candidates(
        self,
        signals: Signals,
        recent: NDArray[np.int32],
        context: Context,
        blocked: NDArray[np.int32],
        near: tuple[NDArray[np.int32], NDArray[np.int32]],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Distinct available slots int32[n], none of them `blocked`, and the bits of their sources int32[n]."""
        counts = signals.counts
        lists = ProposalLists(signals.trends, counts.pairs, counts.popular, signals.catalogue.available)
        slots, bits = self._gather(lists, Asked(recent, context.values, blocked, *near))
        # One pass over the candidates, and no look-up of a counter by its label: a request waits for this.
        counts_of = np.bincount(bits, minlength=len(_BROUGHT)) @ _BROUGHT
        for counter, count in zip(_COUNTERS, counts_of.tolist(), strict=True):
            if count:
                counter.inc(count)
        return slots, bits


@cache
def source_name(bits: int) -> str:
    """The name of the most personal source among the bits."""
    return next((name for name, bit in SOURCES.items() if bits & bit), "none")


def _search(index: VectorIndex, queries: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    if k == 0 or not len(queries):
        return np.empty((len(queries), 0), dtype=np.int32)
    keys, _ = index.search(queries, k)
    return keys.astype(np.int32)
