"""Impressions on disk in the order of their times, read once for each thing that falls due after a fixed span."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from itertools import islice

import msgspec

from stream_reco.labels.label.pending import PendingImpression
from stream_reco.labels.memory.keys import timed
from stream_reco.labels.memory.protocol import END, NEVER, Reached
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, number_at

_CHUNK = msgspec.msgpack.Decoder(list[PendingImpression])
_ONE = msgspec.msgpack.Decoder(PendingImpression)
_ENCODER = msgspec.msgpack.Encoder()
_FIRST = -(2**63)


class Timeline:
    """All impressions that are remembered; those that are new since the last commit are in the main memory."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store
        self.fresh: dict[int, PendingImpression] = {}
        """By seq."""
        self._times: list[tuple[int, int]] = []
        """Time and seq of the fresh ones, in order; some may be deleted."""
        self._next: dict[int, int] = {}
        """By kind: no committed impression lies between what was read last and this time (ms)."""
        self._last_use: dict[int, list[bytes]] = {}
        """Keys to delete when the impression of this seq is over."""

    def add(self, shown: PendingImpression) -> None:
        self.fresh[shown.seq] = shown
        insort(self._times, (shown.time, shown.seq))

    def between(
        self, after: Reached, before: int, kind: int, span: int
    ) -> Iterator[tuple[int, int, int, PendingImpression]]:
        """Entries (time + span, kind, seq, impression) from `after` on, of times less than `before`, in order.

        The impressions are as they were when they were last committed.
        """
        start, end = after[0] - span, before - span
        fresh = self._fresh(start, end, kind, span)
        entries: Iterator[tuple[int, int, int, PendingImpression]] = iter(fresh)
        if end > self._next.get(kind, _FIRST):
            committed = self._committed(start, end, kind, span)
            entries = merge(committed, fresh, key=_order) if fresh else committed
        for entry in entries:
            if entry[:3] >= after:
                yield entry

    def since(self, time: int) -> Iterator[PendingImpression]:
        """Committed impressions from `time` (ms) on, as they were when they were first committed."""
        for _, value in self._store.scan(b"d" + number(time), b"e"):
            yield from _CHUNK.decode(value)

    def load(self, time: int, seq: int) -> PendingImpression | None:
        """A committed impression; None if there is none."""
        if (changed := self._store.get(timed(b"s", time, seq))) is not None:
            return _ONE.decode(changed)
        chunk = self._store.last(timed(b"d", time, _FIRST), timed(b"d", time, seq))
        if chunk is None:
            return None
        return next((shown for shown in _CHUNK.decode(chunk) if shown.seq == seq), None)

    def save(self, shown: PendingImpression) -> None:
        """Write a committed impression that has changed."""
        self._store.put(timed(b"s", shown.time, shown.seq), _ENCODER.encode(shown))

    def save_fresh(self) -> None:
        """Put those that are new into the store: those of one time, which fall due together, in one record."""
        times: dict[int, list[PendingImpression]] = {}
        for shown in self.fresh.values():
            times.setdefault(shown.time, []).append(shown)
        for time, chunk in times.items():
            self._store.put(timed(b"d", time, chunk[0].seq), _ENCODER.encode(chunk))

    def committed(self) -> list[PendingImpression]:
        """To be called once what `save_fresh` wrote is committed; returns it."""
        saved = list(self.fresh.values())
        if saved:
            earliest = min(shown.time for shown in saved)
            self._next = {kind: min(time, earliest) for kind, time in self._next.items()}
        self.fresh, self._times = {}, []
        return saved

    def over(self, shown: PendingImpression, reached: Reached, life: int) -> None:
        """Delete an impression that is over; to be called in the order of `between`."""
        if self.fresh.pop(shown.seq, None) is None:
            keys = self._last_use.pop(shown.seq, None)
            if keys is None:
                self.take_out(shown, reached, life)
            else:
                for key in keys:
                    self._store.delete(key)

    def take_out(self, shown: PendingImpression, reached: Reached, life: int) -> None:
        """Remove one impression before its time, and with it those that are over `life` ms after theirs."""
        if self.fresh.pop(shown.seq, None) is not None:
            return
        self._store.delete(timed(b"s", shown.time, shown.seq))
        start = timed(b"d", shown.time, _FIRST)
        for key, value in self._store.scan(start, timed(b"d", shown.time, shown.seq + 1)):
            chunk = _CHUNK.decode(value)
            kept = [one for one in chunk if one.seq != shown.seq and (one.time + life, END, one.seq) >= reached]
            if kept:
                self._store.put(key, _ENCODER.encode(kept))
            else:
                self._store.delete(key)

    def first(self, since: int) -> int | None:
        """Time (ms) of the earliest impression that is not before `since`."""
        committed = next((number_at(key, 1) for key, _ in self._store.scan(b"d" + number(since), b"e")), None)
        at = bisect_left(self._times, (since, 0))
        fresh = next((time for time, seq in islice(self._times, at, None) if seq in self.fresh), None)
        return min((time for time in (committed, fresh) if time is not None), default=None)

    def _fresh(self, start: int, end: int, kind: int, span: int) -> list[tuple[int, int, int, PendingImpression]]:
        times = self._times
        if not times or times[0][0] >= end:
            return []
        some = times[bisect_left(times, (start, 0)) : bisect_left(times, (end, 0))]
        return [(time + span, kind, seq, self.fresh[seq]) for time, seq in some if seq in self.fresh]

    def _committed(
        self, start: int, end: int, kind: int, span: int
    ) -> Iterator[tuple[int, int, int, PendingImpression]]:
        if kind == END:
            self._last_use.clear()
        changed = self._store.scan(b"s" + number(start), b"s" + number(end))
        next_changed = next(changed, None)
        for key, value in self._store.scan(b"d" + number(start), b"e"):
            time = number_at(key, 1)
            if time >= end:
                self._next[kind] = time
                return
            chunk = _CHUNK.decode(value)
            for shown in chunk:
                of_it = timed(b"s", time, shown.seq)
                while next_changed is not None and next_changed[0] < of_it:
                    next_changed = next(changed, None)
                is_changed = next_changed is not None and next_changed[0] == of_it
                if kind == END:
                    self._last_use[shown.seq] = [of_it] * is_changed + [key] * (shown is chunk[-1])
                now = _ONE.decode(next_changed[1]) if is_changed and next_changed is not None else shown
                yield time + span, kind, shown.seq, now
        self._next[kind] = NEVER


def _order(entry: tuple[int, int, int, PendingImpression]) -> Reached:
    return entry[:3]
