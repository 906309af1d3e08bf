"""What falls due when: a calendar queue, so that a million deadlines cost a list append each and no timer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")
Entry = tuple[int, int, int, T]


class Calendar(Generic[T]):
    """Entries (time, kind, seq, item), given back in the order of (time, kind, seq), which must be unique.

    Entries far ahead lie unsorted in buckets `width` ms wide; only the bucket that time has reached is a heap.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._ahead: dict[int, list[Entry[T]]] = {}
        self._buckets: list[int] = []
        self._due: list[Entry[T]] = []
        self._reached: int | None = None

    def push(self, time: int, kind: int, seq: int, item: T) -> None:
        bucket = time // self._width
        if self._reached is not None and bucket <= self._reached:
            heappush(self._due, (time, kind, seq, item))
            return
        entries = self._ahead.get(bucket)
        if entries is None:
            self._ahead[bucket] = [(time, kind, seq, item)]
            heappush(self._buckets, bucket)
        else:
            entries.append((time, kind, seq, item))

    def pop_before(self, time: int, kind: int = -1, seq: int = -1) -> Entry[T] | None:
        """Take the earliest entry that is less than (time, kind, seq), or None. What is pushed meanwhile is found."""
        due = self._due
        if not due:
            if not self._buckets or self._buckets[0] * self._width > time:
                return None
            self._reached = heappop(self._buckets)
            self._due = due = self._ahead.pop(self._reached)
            heapify(due)
        return heappop(due) if due[0][:3] < (time, kind, seq) else None

    def take(self, wanted: Callable[[Entry[T]], bool]) -> list[Entry[T]]:
        """Take out all wanted entries, in no order; looks at every entry."""
        taken = [entry for entry in self if wanted(entry)]
        if taken:
            self._due = [entry for entry in self._due if not wanted(entry)]
            heapify(self._due)
            left = {bucket: [one for one in some if not wanted(one)] for bucket, some in self._ahead.items()}
            self._ahead = {bucket: some for bucket, some in left.items() if some}
            self._buckets = sorted(self._ahead)
        return taken

    def __iter__(self) -> Iterator[Entry[T]]:
        yield from self._due
        for entries in self._ahead.values():
            yield from entries

    def __len__(self) -> int:
        return len(self._due) + sum(map(len, self._ahead.values()))
