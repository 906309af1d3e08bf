"""A log as a sequence of events in time order, which are created lazily.

Times and columns stay in arrays; a million and a half clicks need no million and a half structs at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.events import Event

_CHUNK = 4096


class LogRows(Protocol):
    """Some events of a log: `times` int64[n], ms, and the events themselves on demand."""

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event time of each row in ms."""

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the events with these indices, in their order."""


class Log(Sequence[Event]):
    """Events by time, oldest first; those of the same time stay in the order of the file.

    `name`: the file. `dead_letters`: its bad rows. A slice is a `Log` that shares the arrays, so `log[:1000]` is free.
    """

    def __init__(self, name: str, parts: Sequence[LogRows], dead_letters: DeadLetters) -> None:
        self.name = name
        self.dead_letters = dead_letters
        self._parts = tuple(parts)
        sizes = [len(part.times) for part in self._parts]
        times = np.concatenate([part.times for part in self._parts]) if sizes else np.empty(0, dtype=np.int64)
        order = np.argsort(times, kind="stable")
        self.times: NDArray[np.int64] = times[order]
        self._part = np.repeat(np.arange(len(sizes), dtype=np.int16), sizes)[order]
        self._row = np.concatenate([np.arange(size) for size in sizes])[order] if sizes else order

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> Log: ...

    def __getitem__(self, index: int | slice) -> Event | Log:
        if isinstance(index, slice):
            return self._view(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"event {index} of a log of {len(self)}")
        return self._build(slice(index, index + 1 or None))[0]

    def __iter__(self) -> Iterator[Event]:
        for batch in self.batches(_CHUNK):
            yield from batch

    def batches(self, size: int) -> Iterator[list[Event]]:
        """Yield the events in lists of `size`, the last one shorter."""
        if size < 1:
            raise ValueError(f"batches of {size} events: a batch holds at least 1")
        for start in range(0, len(self), size):
            yield self._build(slice(start, start + size))

    def _view(self, index: slice) -> Log:
        view = Log.__new__(Log)
        view.name, view.dead_letters, view._parts = self.name, self.dead_letters, self._parts
        view.times, view._part, view._row = self.times[index], self._part[index], self._row[index]
        return view

    def _build(self, index: slice) -> list[Event]:
        part, row = self._part[index], self._row[index]
        if len(self._parts) == 1:
            return self._parts[0].build(row)
        built: list[Event | None] = [None] * len(row)
        for number in np.unique(part).tolist():
            at = np.flatnonzero(part == number)
            for i, event in zip(at.tolist(), self._parts[number].build(row[at]), strict=True):
                built[i] = event
        return [event for event in built if event is not None]
