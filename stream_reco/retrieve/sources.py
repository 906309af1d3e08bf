"""The candidate sources, their names, and how their proposals become one list without doubles."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.retrieve.content_source import ContentSource
from stream_reco.retrieve.passing_items import PassingItems
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.signals.candidates import (
    CONTEXTUAL,
    COVISIT,
    FRESH,
    NEIGHBOUR,
    TRENDING,
    Asked,
    Gatherer,
    ProposalLists,
)
from stream_reco.signals.context import Context
from stream_reco.signals.signals import Signals

TOWER, INTERESTS, CONTENT = 32, 64, 128
SOURCES = {
    "covisits": COVISIT,
    "neighbours": NEIGHBOUR,
    "interests": INTERESTS,
    "tower": TOWER,
    "content": CONTENT,
    "trending": TRENDING,
    "context": CONTEXTUAL,
    "fresh": FRESH,
}
"""Name → bit. A candidate of several sources is named after the first of them here, the most personal one."""
_BROUGHT = np.array([[bool(bits & bit) for bit in SOURCES.values()] for bits in range(2 * CONTENT)], dtype=np.int64)
"""[bits, source]: 1 where a candidate of these bits was brought by the source."""
_LEAST_RANKED = 100
"""Candidates that a request has at least, where so many items are available; and k where that is more."""
_LEAST_FILTERED = 200
"""The same with filters: where no more items pass than this, all of them are ranked."""
_TURNS = 1 << 20
"""Turns are counted modulo this, so that they fit the kernel's integers."""
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
        self.by_content = ContentSource(self._quota("content"))
        self._turning = threading.Lock()
        self._turns = self._next = 0
        self._gather = Gatherer(
            settings.limit,
            (
                self._quota("trending"),
                self._quota("covisits"),
                self._quota("context"),
                self._quota("fresh"),
                self._quota("neighbours"),
            ),
        )

    def _quota(self, source: str) -> int:
        return 0 if source in self._settings.without else int(getattr(self._settings, source))

    @property
    def new_alike(self) -> int:
        """How many new items like those that a user acted on are proposed, besides the quota of `by_content`."""
        return self._quota("content") // 2

    def turn(self, k: int, items: int, *, filtered: bool) -> NDArray[np.int32]:
        """What the next request for k items takes its turn with, of `items` slots: `Asked.turn`.

        Whoever wants equal answers to equal questions asks in their order.
        """
        quota = self._quota("fresh")
        ranked = min(_LEAST_FILTERED if filtered else _LEAST_RANKED, self._settings.limit)
        with self._turning:
            turn = np.array([self._turns, self._next, max(k, ranked)], dtype=np.int32)
            self._turns = (self._turns + 1) % _TURNS
            self._next = (self._next + quota // 2) % max(items, 1)
        return turn

    def near(
        self,
        index: VectorIndex,
        users: NDArray[np.float32],
        medoids: list[NDArray[np.float32]],
        allowed: Sequence[PassingItems | None],
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Proposals over vectors for g requests: slots int32[m] (−1 is none) and their source bits int32[m].

        `users` float32[g, d] are the users' tower vectors, `medoids` g arrays float32[m, d] of their drawn medoids,
        `allowed` what may be proposed to each, None where everything may. Requests that share it are searched for
        together.
        """
        proposals: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}
        alike: dict[int, list[int]] = {}
        for place, items in enumerate(allowed):
            alike.setdefault(id(items), []).append(place)
        for places in alike.values():
            mine = [medoids[place] for place in places]
            found = self._near_among(index, users[places], mine, allowed[places[0]])
            proposals |= dict(zip(places, found, strict=True))
        return [proposals[place] for place in range(len(allowed))]

    def _near_among(
        self,
        index: VectorIndex,
        users: NDArray[np.float32],
        medoids: list[NDArray[np.float32]],
        allowed: PassingItems | None,
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        tower, quota = self._quota("tower"), self._quota("interests")
        asks = medoids if quota else [one[:0] for one in medoids]
        counts = [len(vectors) for vectors in asks]
        shares = [-(-quota // count) if count else 0 for count in counts]
        # One search of all: products of a few queries cost what that of one does.
        found = _search(index, np.concatenate([users, *asks]), max(tower, max(shares)), allowed)
        by_user, by_medoid = found[: len(users), :tower], found[len(users) :]
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

    def active(self, signals: Signals, passing: PassingItems) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """What trends among the items that pass filters: those acted on most, half-life a day, and their source bits.

        The trending lists are of all items, and may hold none of these.
        """
        active, chances, quota = signals.trends.active, signals.trends.chances, self._quota("trending")
        if passing.slots is None:
            slots = active[: np.searchsorted(active, len(passing.mask))]
            slots = slots[passing.mask[slots]]
        else:
            slots = passing.slots[: np.searchsorted(passing.slots, len(chances))]
            slots = slots[chances[slots] > 0]
        if len(slots) > quota:
            slots = slots[np.argsort(-chances[slots], kind="stable")[:quota]]
        return slots, np.full(len(slots), TRENDING, dtype=np.int32)

    def candidates(
        self,
        signals: Signals,
        recent: NDArray[np.int32],
        context: Context,
        blocked: NDArray[np.int32],
        near: tuple[NDArray[np.int32], NDArray[np.int32]],
        turn: NDArray[np.int32],
        passing: PassingItems | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Distinct available slots int32[n], none of them `blocked`, and the bits of their sources int32[n].

        `turn` is what `Retriever.turn` gave; `passing` the available items that pass the filters, if there are any.
        """
        counts = signals.counts
        lists = ProposalLists(
            signals.trends, counts.pairs, counts.popular, counts.together, signals.catalogue.available
        )
        if passing is not None:
            if passing.slots is None:
                lists = lists._replace(available=passing.mask)
            elif len(passing.slots):
                lists = lists._replace(few=passing.slots)
            else:
                return passing.slots, passing.slots
            active = self.active(signals, passing)
            near = np.concatenate([near[0], active[0]]), np.concatenate([near[1], active[1]])
        slots, bits = self._gather(lists, Asked(recent, context.values, blocked, *near, turn))
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


def _search(
    index: VectorIndex, queries: NDArray[np.float32], k: int, allowed: PassingItems | None
) -> NDArray[np.int32]:
    if k == 0 or not len(queries):
        return np.empty((len(queries), 0), dtype=np.int32)
    if allowed is None or allowed.slots is None:
        keys, _ = index.search(queries, k, None if allowed is None else allowed.mask)
    else:
        keys, _ = index.search_among(queries, k, allowed.slots)
    return keys.astype(np.int32)
