"""Several sources in one order of time, so that none of them runs ahead of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Merge(Generic[S, T]):
    """Holds what has been read of each source, and gives it by time; at one time, earlier sources go first.

    A source's own order is kept: what is older than something before it counts as of that one's time. The order that
    comes of it depends on what the sources hold alone, as long as none is said to be at its end that is not.
    """

    def __init__(self, sources: Iterable[S]) -> None:
        self._sources = list(sources)
        self._ranks = {source: rank for rank, source in enumerate(self._sources)}
        self._queues: list[deque[tuple[int, T]]] = [deque() for _ in self._sources]
        self._times = [-(2**63)] * len(self._sources)
        self._heads: list[tuple[int, int]] = []

    def put(self, source: S, time: int | None, item: T) -> None:
        """Add what was read next of a source, with its time in ms, None where it tells none."""
        rank = self._ranks[source]
        if time is not None:
            self._times[rank] = max(self._times[rank], time)
        self._queues[rank].append((self._times[rank], item))
        if len(self._queues[rank]) == 1:
            heappush(self._heads, (self._times[rank], rank))

    def short(self, least: int) -> list[S]:
        """Sources of which fewer than `least` items are held."""
        return [source for source, queue in zip(self._sources, self._queues, strict=True) if len(queue) < least]

    def take(self, most: int, is_at_end: Callable[[S], bool]) -> list[tuple[S, T]]:
        """At most `most` items, none that might have to stand behind one that was not read yet."""
        if any(not queue and not is_at_end(source) for source, queue in zip(self._sources, self._queues, strict=True)):
            return []
        taken: list[tuple[S, T]] = []
        while self._heads and len(taken) < most:
            rank = self._heads[0][1]
            source, queue = self._sources[rank], self._queues[rank]
            taken.append((source, queue.popleft()[1]))
            if queue:
                heapreplace(self._heads, (queue[0][0], rank))
                continue
            heappop(self._heads)
            if not is_at_end(source):
                break
        return taken

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._heads
