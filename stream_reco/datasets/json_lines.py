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
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.row_ids import RowIds, numbered, text_digests
from stream_reco.datasets.times import Bound
from stream_reco.events import BadEvent, Event, decode, encode

_BOM = b"\xef\xbb\xbf"


class LineRows:
    """Good lines of a file, kept as bytes and decoded again when asked for: a fraction of the structs' memory."""

    def __init__(self, data: bytes, spans: NDArray[np.int64], times: NDArray[np.int64], ids: RowIds) -> None:
        # spans int64[n, 4]: line number, first byte, byte after the last, place in `ids` or -1 for its own event_id
        self._data, self._spans, self._times, self._ids = data, spans, times, ids

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event times in ms."""
        return self._times

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the events with these indices; one without an id gets that of its content (see `row_ids`)."""
        spans = self._spans[rows]
        made = iter(self._ids.names(spans[spans[:, 3] >= 0, 3]))
        return [
            _named(decode(self._data[first:after]), next(made) if place >= 0 else None)
            for _, first, after, place in spans.tolist()
        ]


def load(path: Path, bound: Bound, reading: Reading) -> Log:
    """Each line as an event; an invalid line becomes a dead letter with the reason of `BadEvent`."""
    data = read_bytes(path, reading.encoding).removeprefix(_BOM)
    dead = DeadLetters()
    spans: list[tuple[int, int, int, int]] = []
    times: list[int] = []
    contents: list[bytes] = []
    for line, first, after in _lines(data):
        try:
            event = decode(data[first:after])
        except BadEvent as error:
            dead.add(error.reason, f"{path.name}:{line}", str(error))
            continue
        times.append(event.timestamp)
        spans.append((line, first, after, len(contents) if event.event_id is None else -1))
        if event.event_id is None:
            contents.append(_canonical(data[first:after]))
    if set(dead.counts) == {"json"} and not spans:
        why = f"not one line is JSON, the first: {shortened(data[:60])}"
        fix = "For tables use --format table; a JSON array must become one event a line."
        raise DatasetError(path, "cannot read the file as JSON lines", why, fix)
    found, at = np.array(spans, dtype=np.int64).reshape(-1, 4), np.array(times, dtype=np.int64)
    rows = LineRows(data, *_in_bounds(path, found, at, bound, dead), numbered(text_digests(contents)))
    return Log(path.name, [rows], dead)


def _canonical(line: bytes) -> bytes:
    """The same for lines that differ in spaces or in the order of fields alone."""
    return msgspec.json.encode(msgspec.json.decode(line), order="sorted")


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
    """Yield the number (from 1), first byte and byte after the last of every line that is not blank."""
    first, line = 0, 1
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
    dead.add_rows(
        "timestamp",
        path.name,
        len(off),
        lambda i: int(spans[off[i], 0]),
        lambda i: f"timestamp is {times[off[i]]}",
    )
    return spans[~bad], times[~bad]


def _named(event: Event, event_id: str | None) -> Event:
    return event if event_id is None else msgspec.structs.replace(event, event_id=event_id)
