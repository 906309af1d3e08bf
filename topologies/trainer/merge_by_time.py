"""Merges several sources by time, so that none of them runs ahead of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Merge(Generic[S, T]):
    """Buffers what was read of each source, and returns it by time; at equal times, earlier sources go first.

    A source's own order is kept: an item older than one before it counts as of that one's time. The merged order
    depends only on the contents of the sources, as long as `is_at_end` is right.
    """

    def __init__(self, sources: Iterable[S]) -> None:
        self._sources = list(sources)
        self._ranks = {source: rank for rank, source in enumerate(self._sources)}
        self._queues: list[deque[tuple[int, T]]] = [deque() for _ in self._sources]
        self._times = [-(2**63)] * len(self._sources)
        self._heads: list[tuple[int, int]] = []

    def put(self, source: S, time: int | None, item: T) -> None:
        """Add the next item of a source, with its time in ms, None where it has none."""
        rank = self._ranks[source]
        if time is not None:
            self._times[rank] = max(self._times[rank], time)
        self._queues[rank].append((self._times[rank], item))
        if len(self._queues[rank]) == 1:
            heappush(self._heads, (self._times[rank], rank))

    def short(self, least: int) -> list[S]:
        """Sources with fewer than `least` items in the buffer."""
        return [source for source, queue in zip(self._sources, self._queues, strict=True) if len(queue) < least]

    def count(self, source: S) -> int:
        """Items of a source in the buffer."""
        return len(self._queues[self._ranks[source]])

    def take(self, most: int, is_at_end: Callable[[S], bool]) -> list[tuple[S, T]]:
        """At most `most` items by time, none that an item not read yet might precede."""
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
        """Whether the buffer is empty."""
        return not self._heads
