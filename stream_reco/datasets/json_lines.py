"""Logs in our own schema: one JSON event a line."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError, shortened
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import read_bytes
from stream_reco.datasets.times import Bound
from stream_reco.events import BadEvent, Event, decode, encode

_BOM = b"\xef\xbb\xbf"


class LineRows:
    """Good lines of a file, kept as bytes and decoded again when asked for: a fraction of the structs' memory."""

    def __init__(self, name: str, data: bytes, spans: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        # spans int64[n, 3]: line number, first byte, byte after the last
        self._name, self._data, self._spans, self._times = name, data, spans, times

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event times in ms."""
        return self._times

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the events with these indices; one without an id gets `<file name>:<row>`."""
        return [
            _named(decode(self._data[first:after]), f"{self._name}:{line}")
            for line, first, after in self._spans[rows].tolist()
        ]


def load(path: Path, bound: Bound) -> Log:
    """Each line as an event; an invalid line becomes a dead letter with the reason of `BadEvent`."""
    data = read_bytes(path).removeprefix(_BOM)
    dead = DeadLetters()
    spans, times, first_error = [], [], ""
    for line, first, after in _lines(data):
        try:
            times.append(decode(data[first:after]).timestamp)
            spans.append((line, first, after))
        except BadEvent as error:
            first_error = first_error or str(error)
            dead.add(error.reason, f"{path.name}:{line}", str(error))
    if set(dead.counts) == {"json"} and not spans:
        why = f"not one line is JSON, the first: {shortened(data[:60])}"
        fix = "For tables use --format table; a JSON array must become one event a line."
        raise DatasetError(path, "cannot read the file as JSON lines", why, fix)
    found, at = np.array(spans, dtype=np.int64).reshape(-1, 3), np.array(times, dtype=np.int64)
    return Log(path.name, [LineRows(path.name, data, *_in_bounds(path, found, at, bound, dead))], dead)


def write_events(path: Path | str, events: Iterable[Event]) -> int:
    """Write events as JSON lines, under gzip if the name ends in .gz; return how many."""
    path = Path(path)
    count = 0
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        for event in events:
            file.write(encode(event) + b"\n")
            count += 1
    return count


def _lines(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the number (from 0), first byte and byte after the last of every line that is not blank."""
    first = line = 0
    while first < len(data):
        after = data.find(b"\n", first)
        after = len(data) if after < 0 else after
        if data[first:after].strip():
            yield line, first, after
        first, line = after + 1, line + 1


def _in_bounds(
    path: Path, spans: NDArray[np.int64], times: NDArray[np.int64], bound: Bound, dead: DeadLetters
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    bad = bound.broken_by(times)
    off = np.flatnonzero(bad)
    dead.add_rows("timestamp", path.name, spans[off, 0], lambda i: f"timestamp is {times[off[i]]}")
    return spans[~bad], times[~bad]


def _named(event: Event, event_id: str) -> Event:
    return event if event.event_id is not None else msgspec.structs.replace(event, event_id=event_id)
