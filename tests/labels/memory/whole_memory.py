"""All that a joiner remembers, in one form for both memories: what it holds, not how."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from stream_reco.events import Id
from stream_reco.labels import LabelJoiner
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.memory.in_memory import InMemory
from stream_reco.labels.memory.keys import digest_of
from stream_reco.labels.memory.on_disk import OnDisk
from stream_reco.labels.memory.protocol import RESPONSE
from stream_reco.labels.memory.unsettled import UnsettledActions
from stream_reco.storage.sortable_keys import end_of, number_at

_Whole = dict[str, Any]


def whole_memory(joiner: LabelJoiner) -> _Whole:
    """To be compared with that of another joiner that has seen the same; commits where there is a store."""
    memory = joiner._memory
    if isinstance(memory, OnDisk):
        joiner.commit(memory.store.position or b"")
        found = _on_disk(memory)
    else:
        assert isinstance(memory, InMemory)
        found = _in_memory(memory)
    return {"progress": structs.astuple(memory.progress), "delays": structs.astuple(memory.delays), **found}


def _in_memory(memory: InMemory) -> _Whole:
    shown = {one.seq: _values(one) for one in memory.open}
    ids = {digest_of(one): hour for hour, some in memory.deduplicator._until.items() for one in some}
    held = {
        digest_of(event_id): ("impression", one.seq) if isinstance(one, PendingImpression) else _values(one)
        for event_id, one in memory.retractable.items()
    }
    groups = {
        key: (
            sorted((rank, seq) for rank, seq, one in group.waiting if one.label is None),
            _recent(memory, group.ranks, group.times),
        )
        for key, group in memory.groups._groups.items()
    }
    return {"shown": shown, "ids": ids, "held": held, "groups": groups, **_unsettled(memory.unsettled)}


def _on_disk(memory: OnDisk) -> _Whole:
    store = memory.store
    shown: dict[int, object] = {}
    for key, _ in store.scan(b"i", b"j"):
        one = memory._get(number_at(key, len(key) - 16), number_at(key, len(key) - 8))
        assert one is not None, "an impression that is found by its item is gone"
        shown[one.seq] = _values(one)
    return {"shown": shown, **_ids(memory), "groups": _groups(memory, set(shown)), **_unsettled(memory._unsettled)}


def _ids(memory: OnDisk) -> _Whole:
    ids: dict[bytes, int] = {}
    held: dict[bytes, object] = {}
    for key, value in memory.store.scan(b"h", b"i"):
        event_id, of_what = key[1:], value[8:]
        if number_at(value, 0) >= memory._ids.expired:
            ids[event_id] = number_at(value, 0)
        if of_what.startswith(b"i") and memory._get(number_at(of_what, 1), number_at(of_what, 9)):
            held[event_id] = ("impression", number_at(of_what, 9))
        elif of_what.startswith(b"v"):
            action = memory._ids.retractable(of_what)
            if action is not None and memory.windows.is_retractable(action, memory.progress):
                held[event_id] = _values(action)
    return {"ids": ids, "held": held}


def _groups(memory: OnDisk, remembered: set[int]) -> dict[tuple[Id, ...], object]:
    groups: dict[tuple[Id, ...], object] = {}
    for key, value in memory.store.scan(b"g", end_of(b"g")):
        ends, _, waiting, ranks, times = msgspec.msgpack.decode(value)
        if any(seq in remembered for _, seq in ends):
            members = [(rank, seq, memory._get(*of)) for rank, seq, of in waiting if seq in remembered]
            unlabelled = sorted((rank, seq) for rank, seq, one in members if one is not None and one.label is None)
            groups[_group_of(key)] = (unlabelled, _recent(memory, ranks, times))
    return groups


def _recent(memory: InMemory | OnDisk, ranks: list[int], times: list[int]) -> list[tuple[int, int]]:
    since = memory.windows.horizon(memory.progress)
    return [(rank, time) for rank, time in zip(ranks, times, strict=True) if time >= since]


def _unsettled(unsettled: UnsettledActions) -> _Whole:
    responses = sorted((time, seq, what) for time, kind, seq, what in unsettled.calendar if kind == RESPONSE)
    waiting = sorted(_values(action) for action in unsettled.waiting)
    return {"responses": responses, "waiting": waiting, "retractions": unsettled.retractions}


def _values(one: PendingImpression | PendingAction) -> tuple[object, ...]:
    values = structs.asdict(one)
    for name in ("within", "after"):
        if values.get(name) is not None:
            values[name] = _values(values[name])
    if values.get("actions") is not None:
        values["actions"] = [_values(action) for action in values["actions"]]
    values.pop("dropped")
    return tuple(values.items())


def _id_of(key: bytes, at: int = 1) -> Id:
    return number_at(key, at + 1) if key[at] == 1 else key[at + 5 :].decode()


def _group_of(key: bytes) -> tuple[Id, ...]:
    ids: list[Id] = []
    at = 1
    while at < len(key):
        length = 9 if key[at] == 1 else 5 + int.from_bytes(key[at + 1 : at + 5], "big")
        ids.append(_id_of(key[: at + length], at))
        at += length
    return tuple(ids)
