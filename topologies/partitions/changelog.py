"""The state of one input partition: a local store that is a cache of a compacted topic."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco.labels.settings import DAY_MS
from stream_reco.storage.rocksdb import RocksStore, StoreError
from topologies.topics.declaration import TOMBSTONES_MS

_LOGGER = logging.getLogger(__name__)
INPUT = b"\x00input"
"""Key of the record that says how much of the input is contained: groups forget that when nobody works."""
Contained = int | dict[str, int]
"""The offset before which all input is contained, by topic; only the number where there is or was one topic."""
_CONTAINED = msgspec.json.Decoder(Contained)
_AT_ONCE = 20_000
"""Records that are brought to the store at once while it is rebuilt."""
_POLL_MS = 1000


class Position(msgspec.Struct, array_like=True, frozen=True):
    """What a store contains: the input that `input` tells, all records of the state's topic before `state`.

    `written` is the wall clock (ms) of its last commit.
    """

    input: Contained
    state: int
    written: int

    def to_bytes(self) -> bytes:
        """For the store."""
        return msgspec.msgpack.encode(self)


_NOWHERE = Position(0, 0, 0)


def position_of(store: RocksStore) -> Position:
    """Where a store stands; a new one has nothing."""
    data = store.position
    return _NOWHERE if data is None else msgspec.msgpack.decode(data, type=Position)


def contained(offsets: Mapping[str, int]) -> Contained:
    """The offsets of a role's topics as they are written down."""
    return next(iter(offsets.values())) if len(offsets) == 1 else dict(offsets)


def offsets_of(store: RocksStore, topics: Sequence[str]) -> dict[str, int]:
    """How far each topic, the first one of the role first, is contained; 0 where that is not known."""
    told = position_of(store).input
    known = told if isinstance(told, dict) else {topics[0]: told}
    return {topic: known.get(topic, 0) for topic in topics}


async def state_as_committed(
    folder: Path, reader: AIOKafkaConsumer, partition: TopicPartition, now: int
) -> tuple[RocksStore, int]:
    """The store in `folder`, brought to the end of its topic at `now` (ms), and how many records that took.

    `reader` reads what is committed; it is assigned to `partition` of the topic, and left so.
    """
    first = (await reader.beginning_offsets([partition]))[partition]
    end = (await reader.end_offsets([partition]))[partition]
    store = _opened(folder, end, now)
    try:
        return store, await _catch_up(store, reader, partition, (first, end), now)
    except BaseException:
        store.close()
        raise


def _opened(folder: Path, end: int, now: int) -> RocksStore:
    store = None
    try:
        store = RocksStore(folder)
        why = _mistrust(position_of(store), end, now)
    except (StoreError, msgspec.MsgspecError) as error:
        why = str(error)
    if store is not None:
        if not why:
            return store
        store.close()
    _LOGGER.warning("the state in %s is thrown away and rebuilt from its topic: %s", folder, why)
    shutil.rmtree(folder, ignore_errors=True)
    return RocksStore(folder)


def _mistrust(position: Position, end: int, now: int) -> str:
    """Why a store at `position` is not to be used; empty where it is."""
    if position == _NOWHERE:
        return ""
    if position.state > end:
        return f"it holds its topic up to offset {position.state}, which ends at {end}"
    # Of what was deleted later the topic may say nothing any more.
    if now - position.written > TOMBSTONES_MS // 2:
        return f"it was last written {(now - position.written) / DAY_MS:.1f} days ago"
    return ""


async def _catch_up(
    store: RocksStore, reader: AIOKafkaConsumer, partition: TopicPartition, ends: tuple[int, int], now: int
) -> int:
    position, read = position_of(store), 0
    at = max(position.state, ends[0])
    changes: dict[bytes, bytes | None] = {}
    reader.assign([partition])
    reader.seek(partition, at)
    while at < ends[1]:
        found = await reader.getmany(partition, timeout_ms=_POLL_MS, max_records=_AT_ONCE)
        records = found.get(partition, [])
        changes.update((record.key, record.value) for record in records)
        read, at = read + len(records), await reader.position(partition)
        if len(changes) >= _AT_ONCE or at >= ends[1]:
            told = changes.pop(INPUT, None)
            position = Position(position.input if told is None else _CONTAINED.decode(told), at, now)
            store.apply(changes, position.to_bytes())
            changes = {}
    return read
