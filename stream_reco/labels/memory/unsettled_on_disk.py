"""Unsettled actions and retractions, with a copy in a store for the next start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.groups import GroupKey
from stream_reco.labels.memory.keys import digest_of
from stream_reco.labels.memory.protocol import ORPHAN, RESPONSE, WAITED, StreamProgress
from stream_reco.labels.memory.unsettled import UnsettledActions
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number, number_at

_ENCODER = msgspec.msgpack.Encoder()
_ACTION = msgspec.msgpack.Decoder(PendingAction)
_ORPHAN = msgspec.msgpack.Decoder(tuple[Any, Id | None])
"""The digest of the action's id; earlier releases wrote the id itself."""
_RESPONSE = msgspec.msgpack.Decoder(tuple[GroupKey, int])


class UnsettledActionsOnDisk(UnsettledActions):
    """`UnsettledActions`, and the due entries of impressions that came after their deadline."""

    def __init__(self, store: RocksStore, progress: StreamProgress, width: int) -> None:
        super().__init__(progress, width)
        self._store = store

    def noted(self, time: int, kind: int, seq: int, what: object) -> None:
        self._store.put(_key(time, kind, seq), _ENCODER.encode(what))

    def dropped(self, time: int, kind: int, seq: int) -> None:
        self._store.delete(_key(time, kind, seq))

    def late(self, entry: tuple[int, int, int], shown: PendingImpression) -> None:
        """Schedule an entry of an impression although its time is past."""
        self.calendar.push(*entry, shown)
        self.noted(*entry, shown.time)

    def turn_back(self, time: int, *, by_time: bool) -> None:
        """In the store: what is later than `time` (ms) is of that time; `by_time`: ranks are times too."""
        for key, value in list(self._store.scan(b"n", b"o")):
            kind, now, seq = key[1], min(number_at(key, 2), time), number_at(key, 10)
            self._store.delete(key)
            if kind == WAITED:
                action = _ACTION.decode(value)
                action.time = now
                value = _ENCODER.encode(action)
            elif kind == RESPONSE and by_time:
                group, rank = _RESPONSE.decode(value)
                value = _ENCODER.encode((group, min(rank, time)))
            self._store.put(_key(now, kind, seq), value)

    def recall(self, impression: Callable[[int, int], PendingImpression | None]) -> None:
        """Restore what the store holds; `impression` finds one by time and seq."""
        # In the order in which they came, which is that of their seq.
        for key, value in sorted(self._store.scan(b"n", b"o"), key=lambda pair: number_at(pair[0], 10)):
            kind, time, seq = key[1], number_at(key, 2), number_at(key, 10)
            if kind == WAITED:
                self.wait(_ACTION.decode(value))
            elif kind == ORPHAN:
                action, user_id = _ORPHAN.decode(value)
                self.hold_retraction_of(action if isinstance(action, bytes) else digest_of(action), time, user_id, seq)
            elif kind == RESPONSE:
                group, rank = _RESPONSE.decode(value)
                self.response(time, seq, group, rank)
            elif (shown := impression(msgspec.msgpack.decode(value, type=int), seq)) is not None:
                self.late((time, kind, seq), shown)
            else:
                self._store.delete(key)  # its user was deleted


def _key(time: int, kind: int, seq: int) -> bytes:
    return b"n" + bytes([kind]) + number(time) + number(seq)
