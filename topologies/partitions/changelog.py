"""The state of one input partition: a local store that caches its partition of a compacted changelog topic."""

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
"""Key of the changelog record with the input offsets: brokers forget those of a group that has no members."""
Contained = int | dict[str, int]
"""The offset before which all input is contained, by topic; a bare number where there is or was one topic."""
_CONTAINED = msgspec.json.Decoder(Contained)
_BATCH_RECORDS = 20_000
"""Changelog records applied to the store in one write while it is restored."""
_POLL_MS = 1000
_DELETED_STAYS_SECONDS = 86_400
"""What is deleted leaves the local files about this much later; of the topics that is up to their retention."""


class Position(msgspec.Struct, array_like=True, frozen=True):
    """What a store contains: all input before the offsets `input`, all changelog records before the offset `state`.

    `written` is the wall clock (ms) of its last commit. Stored as a msgpack array in this order.
    """

    input: Contained
    state: int
    written: int

    def to_bytes(self) -> bytes:
        """For the store."""
        return msgspec.msgpack.encode(self)


_EMPTY = Position(0, 0, 0)


def position_of(store: RocksStore) -> Position:
    """What a store contains; nothing where it is new."""
    data = store.position
    return _EMPTY if data is None else msgspec.msgpack.decode(data, type=Position)


def contained(offsets: Mapping[str, int]) -> Contained:
    """The offsets of a worker's input topics as they are stored."""
    return next(iter(offsets.values())) if len(offsets) == 1 else dict(offsets)


def offsets_of(store: RocksStore, topics: Sequence[str]) -> dict[str, int]:
    """The offset before which each topic is contained, 0 where unknown; `topics` begins with the main input."""
    stored = position_of(store).input
    known = stored if isinstance(stored, dict) else {topics[0]: stored}
    return {topic: known.get(topic, 0) for topic in topics}


async def restore_store(
    folder: Path, reader: AIOKafkaConsumer, partition: TopicPartition, now: int
) -> tuple[RocksStore, int]:
    """Open the store in `folder` and bring it to the end of its changelog at `now` (ms, wall clock).

    Returns the store and how many records that took. `reader` reads committed records only; afterwards it is still
    assigned to `partition`, the one of the changelog.
    """
    first = (await reader.beginning_offsets([partition]))[partition]
    end = (await reader.end_offsets([partition]))[partition]
    store = _opened_store(folder, end, now)
    try:
        return store, await _apply_changelog(store, reader, partition, (first, end), now)
    except BaseException:
        store.close()
        raise


def _opened_store(folder: Path, end: int, now: int) -> RocksStore:
    store = None
    try:
        store = RocksStore(folder, rewrite_after_seconds=_DELETED_STAYS_SECONDS)
        why = _reason_to_rebuild(position_of(store), end, now)
    except (StoreError, msgspec.MsgspecError) as error:
        why = str(error)
    if store is not None:
        if not why:
            return store
        store.close()
    _LOGGER.warning("the state in %s is deleted and rebuilt from its changelog topic: %s", folder, why)
    shutil.rmtree(folder, ignore_errors=True)
    return RocksStore(folder, rewrite_after_seconds=_DELETED_STAYS_SECONDS)


def _reason_to_rebuild(position: Position, end: int, now: int) -> str:
    """Why a store at `position` cannot be used; empty where it can."""
    if position == _EMPTY:
        return ""
    if position.state > end:
        return f"it contains the changelog up to offset {position.state}, which ends at {end}"
    # Tombstones written since then may have been compacted away: deletions would be missed.
    if now - position.written > TOMBSTONES_MS // 2:
        return f"it was last written {(now - position.written) / DAY_MS:.1f} days ago"
    return ""


async def _apply_changelog(
    store: RocksStore, reader: AIOKafkaConsumer, partition: TopicPartition, ends: tuple[int, int], now: int
) -> int:
    position, read = position_of(store), 0
    offset = max(position.state, ends[0])
    changes: dict[bytes, bytes | None] = {}
    reader.assign([partition])
    reader.seek(partition, offset)
    while offset < ends[1]:
        found = await reader.getmany(partition, timeout_ms=_POLL_MS, max_records=_BATCH_RECORDS)
        records = found.get(partition, [])
        changes.update((record.key, record.value) for record in records)
        read, offset = read + len(records), await reader.position(partition)
        if len(changes) >= _BATCH_RECORDS or offset >= ends[1]:
            stored = changes.pop(INPUT, None)
            position = Position(position.input if stored is None else _CONTAINED.decode(stored), offset, now)
            store.apply(changes, position.to_bytes())
            changes = {}
    return read
