"""What the processes of one server see at once of its learner: figures in memory that all of them share."""

from __future__ import annotations

import mmap
import time

import msgspec
import numpy as np

from stream_reco.serve.status import Status, starting_status

_PAGE_BYTES = 4096
_FIGURES = 6
_RECORD_BYTES = 1 << 16
"""Most of a status as JSON: names of tables and a few sentences."""
_READS = 100
"""Attempts at a record that is being written; a writer that was killed amid it leaves it so for ever."""
_OPEN, _BEAT, _EVENTS, _BACKLOG, _STREAM_TIME, _WRITES = range(_FIGURES)
_DECODER = msgspec.json.Decoder(Status)


class Pulse:
    """Made before the processes are forked; afterwards one of them writes, all read.

    Each figure is an aligned int64, which is read and written whole. The status is a record between two counts of
    writes, which are equal and even where nobody writes meanwhile. Nothing is left of it when all processes have ended.
    """

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _PAGE_BYTES + _RECORD_BYTES)
        self._figures = np.frombuffer(self._map, dtype=np.int64, count=_FIGURES)
        self._status = starting_status()

    # --- written by the learner, `closed` also by who has seen it end

    def opened(self) -> None:
        """The learner takes events from now on."""
        self.beat()
        self._figures[_OPEN] = 1

    def closed(self) -> None:
        """The learner takes no events."""
        self._figures[_OPEN] = 0

    def beat(self) -> None:
        """The learner is alive."""
        self._figures[_BEAT] = time.monotonic_ns()

    def durable(self, events: int, backlog: int) -> None:
        """So many distinct events are durable, and so many of these not yet learned from."""
        self._figures[_EVENTS], self._figures[_BACKLOG] = events, backlog

    def reached(self, stream_time: int) -> None:
        """Stream time, ms, as of what was learned."""
        self._figures[_STREAM_TIME] = stream_time

    def tell(self, status: Status) -> None:
        """Write the status; one that is too long is left out, and the last one stays."""
        record = msgspec.json.encode(status)
        if len(record) > _RECORD_BYTES - 8:
            return
        self.begin_record()
        self._map[_PAGE_BYTES : _PAGE_BYTES + 8 + len(record)] = len(record).to_bytes(8, "little") + record
        self._figures[_WRITES] += 1

    def begin_record(self) -> None:
        """From now on until the next `tell` readers have the status of before."""
        self._figures[_WRITES] |= 1

    # --- read by all

    @property
    def is_open(self) -> bool:
        """Whether the learner takes events."""
        return bool(self._figures[_OPEN])

    @property
    def silent_seconds(self) -> float:
        """Seconds since its last beat; 0 before the first."""
        beat = int(self._figures[_BEAT])
        return max(0.0, (time.monotonic_ns() - beat) / 1e9) if beat else 0.0

    @property
    def events(self) -> int:
        """Distinct events that are durable."""
        return int(self._figures[_EVENTS])

    @property
    def backlog(self) -> int:
        """Events that are durable and not yet learned from."""
        return int(self._figures[_BACKLOG])

    @property
    def stream_time(self) -> int:
        """The highest event time that was learned from, ms."""
        return int(self._figures[_STREAM_TIME])

    def status(self) -> Status:
        """The learner's status as of its last beats, with the figures of this moment."""
        self._status = self._told() or self._status
        figures: Status = {**self._status, "events": self.events, "backlog": self.backlog}
        return figures

    def _told(self) -> Status | None:
        """The last status that was written; None where there is none, or it cannot be read whole."""
        for _ in range(_READS):
            before = int(self._figures[_WRITES])
            length = int.from_bytes(self._map[_PAGE_BYTES : _PAGE_BYTES + 8], "little")
            record = self._map[_PAGE_BYTES + 8 : _PAGE_BYTES + 8 + min(length, _RECORD_BYTES - 8)]
            if before % 2 == 0 and before == int(self._figures[_WRITES]):
                return _DECODER.decode(record) if record else None
        return None
