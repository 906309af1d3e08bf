"""Impressions in a store whose stream time ran away: those of a later time become impressions of the right one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.keys import of_event, of_pair, timed
from stream_reco.labels.memory.protocol import LabelWindows
from stream_reco.storage.rocksdb import RocksStore
from stream_reco.storage.sortable_keys import number_at, of_id

_CHUNK = msgspec.msgpack.Decoder(list[PendingImpression])
_ONE = msgspec.msgpack.Decoder(PendingImpression)
_ENCODER = msgspec.msgpack.Encoder()


def turn_impressions_back(
    store: RocksStore,
    windows: LabelWindows,
    time: int,
    as_now: Callable[[PendingImpression], PendingImpression | None],
) -> int:
    """Take impressions later than `time` (ms) as of that time; returns how many they were. The caller commits.

    What time alone has done to an impression (`as_now`, None: it is over) is written down, as it will not follow from
    the time any more. Only what is committed is seen.
    """
    later = 0
    for key in [key for key, _ in store.scan(b"d", b"e")]:
        at, chunk = number_at(key, 1), _CHUNK.decode(store.get(key) or b"\x90")
        if at >= time:
            # Each on its own: chunks of one time are told apart by their first impression.
            store.delete(key)
        kept = []
        for first in chunk:
            state = timed(b"s", at, first.seq)
            before = store.get(state) or _ENCODER.encode(first)
            shown = as_now(_ONE.decode(before))
            if shown is None or at >= time:
                store.delete(state)
            elif (now := _ENCODER.encode(shown)) != before:
                store.put(state, now)
            if shown is not None and at >= time:
                later += at > time
                _move(store, shown, windows.deadline_of(shown), time)
            elif shown is not None:
                kept.append(first)
        if at < time and len(kept) < len(chunk):
            store.put(key, _ENCODER.encode(kept))
    return later


def _move(store: RocksStore, shown: PendingImpression, deadline: int, time: int) -> None:
    pair = of_pair(shown.user_id, shown.item_id)
    store.delete(pair + timed(b"", shown.time, shown.seq))
    store.put(pair + timed(b"", time, shown.seq), b"")
    for action in [*(shown.actions or ()), *filter(None, (shown.within, shown.after))]:
        # One that is held for the end of the window stays behind it, or it would never count.
        if action.time <= deadline or shown.matured:
            _move_action(action, time)
        if action.event_id is not None:
            # An earlier release kept the id itself.
            for key in (of_event(action.event_id), b"e" + of_id(action.event_id)):
                _refer(store, key, timed(b"i", time, shown.seq))
    shown.time, shown.label_time = time, min(shown.label_time, time)
    store.put(timed(b"d", time, shown.seq), _ENCODER.encode([shown]))


def _move_action(action: PendingAction, time: int) -> None:
    action.time = min(action.time, time)
    if action.retracted is not None:
        action.retracted = min(action.retracted, time)


def _refer(store: RocksStore, key: bytes, reference: bytes) -> None:
    """Let an event's id lead to its impression, where it did."""
    value = store.get(key)
    if value is not None and value[8:9] == b"i":
        store.put(key, value[:8] + reference)
