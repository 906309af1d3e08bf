"""The joiner at rest: MessagePack bytes for checkpoints."""

from __future__ import annotations

import msgspec

from stream_reco.events import Id
from stream_reco.labels.groups import GroupKey, Order
from stream_reco.labels.pending import Held, Shown

_VERSION = 2

Settings = tuple[int, Order, int, dict[str, float], dict[str, float], bool, int | None]
"""The arguments of the joiner, in their order."""


class MemoryState(msgspec.Struct, array_like=True):
    """A Memory at rest. What can be derived from the impressions and actions is not in it."""

    times: tuple[int, int, int]
    counts: tuple[int, int, int]
    shown: list[Shown]
    waiting: list[Held]
    unprompted: list[Held]
    retractions: dict[Id, tuple[int, int, Id | None]]
    responses: list[tuple[GroupKey, list[int], list[int]]]
    due: list[tuple[int, int, GroupKey, int]]
    remembered: dict[int, list[Id]]


class _State(msgspec.Struct, array_like=True):
    version: int
    settings: Settings
    memory: msgspec.Raw  # read after the version, which says how


def pack(settings: Settings, memory: MemoryState) -> bytes:
    return msgspec.msgpack.encode(_State(_VERSION, settings, msgspec.Raw(msgspec.msgpack.encode(memory))))


def unpack(data: bytes) -> tuple[Settings, MemoryState]:
    """The inverse of `pack`. Raises ValueError where `data` is no state, or one of another version."""
    try:
        state = msgspec.msgpack.decode(data, type=_State)
        if state.version != _VERSION:
            raise ValueError(f"its version is {state.version}, this release reads {_VERSION}")
        return state.settings, msgspec.msgpack.decode(state.memory, type=MemoryState)
    except ValueError as error:
        raise ValueError(f"cannot read the state of the labels ({len(data)} bytes): {error}; replay the log") from error
