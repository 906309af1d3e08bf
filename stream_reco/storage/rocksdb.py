"""An ordered key/value store on disk: RocksDB, with uncommitted changes in memory on top of it.

A commit writes all changes and the position of the input in one atomic batch. There is no write-ahead log: after a kill
the store is exactly as an earlier commit left it, and `position` is where to resume the input.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from rocksdict import (
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    Checkpoint,
    CompactOptions,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from stream_reco.storage.checkpoint_links import linked
from stream_reco.storage.sortable_keys import end_of

_LOGGER = logging.getLogger(__name__)
Changes = Mapping[bytes, bytes | None]
"""New value by key; None: the key is deleted."""

_UNCHANGED = b"\x00unchanged"
_POSITION = b"\x00position"
_ERASED = b"\x00erased"
_MEGABYTE = 1 << 20
_TABLE_FILTER = 0.05
"""Of the memory of a table of recent changes: some 30 bits for each of them."""
_MANIFEST_BYTES = 1
"""The list of files is written anew at each change of it: what was changed before names keys of files that are gone."""


class StoreError(OSError):
    """A store cannot be opened or written; the text says why and what to do."""


class RocksStore:
    """Bytes by keys in a folder that belongs to one process at a time."""

    def __init__(self, folder: str | Path, cache_megabytes: int = 64, rewrite_after_seconds: int = 0) -> None:
        """Open what is in `folder`, or begin there. Raises StoreError.

        With `rewrite_after_seconds` files of that age are written anew in the background, without what was deleted.
        """
        self.folder = Path(folder)
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._db = Rdict(str(self.folder), _options(cache_megabytes))
            if rewrite_after_seconds:
                self._db.set_options({"periodic_compaction_seconds": str(rewrite_after_seconds)})
        except Exception as error:  # rocksdict raises bare exceptions
            raise StoreError(
                f"the store in {self.folder} cannot be opened: {error}. If another process has it open, stop that"
                " process; if the store is damaged, remove the folder and replay the input since the last checkpoint"
            ) from error
        unlogged = WriteOptions()
        unlogged.disable_wal = True  # type: ignore[method-assign,assignment] # a property, not as its stub says
        self._db.set_write_options(unlogged)
        self._changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        changed = self._changes.get(key, _UNCHANGED)
        if changed is not _UNCHANGED:
            return changed
        value: bytes | None = self._db.get(key)
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """`get` of each key. Other threads run, and may write, while it reads from the disk."""
        if not keys:
            return []
        changes = self._changes
        stored = cast(list[bytes | None], self._db.get(list(keys)))
        if changes.keys().isdisjoint(keys):
            return stored
        return [changes.get(key, value) for key, value in zip(keys, stored, strict=True)]

    def put(self, key: bytes, value: bytes) -> None:
        self._changes[key] = value

    def delete(self, key: bytes) -> None:
        self._changes[key] = None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with start ≤ key < end in order, with their values as they are now.

        Keys that are new since the last commit are not among them.
        """
        bounded = ReadOptions()
        # Many deleted keys may follow the last one; without a bound the iterator would step over each of them.
        bounded.set_iterate_upper_bound(end)
        items = self._db.items(from_key=start, read_opt=bounded)
        pairs: Iterator[tuple[bytes, bytes]] = items  # type: ignore[assignment] # raw mode
        for key, value in pairs:
            now = self._changes.get(key, value)
            if now is not None:
                yield key, now

    def everything(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All pairs whose keys begin with `prefix`, also those that are not committed; looks at all of the latter."""
        pairs = dict(self.scan(prefix, end_of(prefix)))
        pairs.update((key, value) for key, value in self._changes.items() if value and key.startswith(prefix))
        return sorted(pairs.items())

    def last(self, start: bytes, key: bytes) -> bytes | None:
        """The value, as it is now, of the greatest committed key that is ≤ `key` and ≥ `start`."""
        iterator = self._db.iter()
        iterator.seek_for_prev(key)
        if not iterator.valid() or (found := iterator.key()) < start:
            return None
        value: bytes | None = self._changes.get(found, iterator.value())
        return value

    @property
    def changes(self) -> Changes:
        """What the next commit will write, apart from its position."""
        return dict(self._changes)

    @property
    def uncommitted(self) -> int:
        """Keys with a change that is not committed."""
        return len(self._changes)

    @property
    def position(self) -> bytes | None:
        """The position of the input at the last commit; None before the first."""
        value: bytes | None = self._db.get(_POSITION)
        return value

    def commit(self, position: bytes) -> Changes:
        """Write all changes atomically and return them: applied in order to another store they make it the same.

        Raises StoreError with nothing written; the changes stay uncommitted.
        """
        changes = {**self._changes, _POSITION: position}
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            self._db.write(batch)
        except Exception as error:
            raise StoreError(f"the store in {self.folder} cannot be written: {error}; free space there") from error
        self._changes = {}  # only now, for other threads may be reading
        return changes

    def apply(self, changes: Changes, position: bytes | None = None) -> None:
        """Commit changes that another store's `commit` returned; before anything else reads from this store.

        The position is the given one, or else the one among the changes.
        """
        self._changes.update(changes)
        self.commit(position or changes.get(_POSITION) or self.position or b"")

    def flush(self) -> None:
        """Write all that is committed to the disk, so that it survives a kill of the process."""
        self._db.flush()

    def erase_deleted(self) -> None:
        """Rewrite the files, so that no byte of what was deleted or overwritten is left in the folder.

        What is not committed is neither deleted nor written. Takes as long as it takes to copy the store. Raises
        StoreError.
        """
        every_level = CompactOptions()
        every_level.set_bottommost_level_compaction(BottommostLevelCompaction.force())
        try:
            self._db.flush()
            self._db.compact_range(None, None, compact_opt=every_level)
            # The list of files begins with those that were there before the last change of it: one more change.
            self._db.put(_ERASED, b"")
            self._db.flush()
        except Exception as error:
            raise StoreError(
                f"deleted records are still in the files of the store in {self.folder}: {error}; free space there"
            ) from error

    def checkpoint(self, folder: Path) -> None:
        """Write all that is committed to a new folder; immutable files are shared by hard links."""
        try:
            Checkpoint(self._db).create_checkpoint(str(folder))
        except Exception as error:
            raise StoreError(
                f"no checkpoint of the store in {self.folder} could be written to {folder}: {error}"
            ) from error

    @property
    def nbytes(self) -> int:
        """Bytes of the files, and of the memory tables that are not written to them yet."""
        tables: int | None = self._db.property_int_value("rocksdb.live-sst-files-size")
        waiting: int | None = self._db.property_int_value("rocksdb.cur-size-all-mem-tables")
        return (tables or 0) + (waiting or 0)

    def close(self) -> None:
        """Close the store; uncommitted changes are lost, and where the disk is full, what was not flushed."""
        try:
            self._db.close()
        except Exception as error:
            # As after a kill: whoever wrote here has the input since the last flush.
            _LOGGER.warning("the store in %s could not be written to its end: %s", self.folder, error)


def copy_of(source: Path, folder: Path) -> RocksStore:
    """A store in `folder`, replacing what was there, from a checkpoint in `source`, which stays unchanged."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in source.iterdir():
        copy = folder / file.name
        if file.suffix != ".sst" or not linked(file, copy):
            shutil.copyfile(file, copy)
    return RocksStore(folder)


def _options(cache_megabytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(32 * _MEGABYTE)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    # A filter for what is in memory too: nearly every id that is looked up is new, and to find no entry in a full
    # table of 400,000 takes seven times as long.
    options.set_memtable_prefix_bloom_ratio(_TABLE_FILTER)
    options.set_memtable_whole_key_filtering(True)
    options.set_max_manifest_file_size(_MANIFEST_BYTES)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(cache_megabytes * _MEGABYTE))
    blocks.set_block_size(16 * 1024)
    # Filters stay in memory, 1.25 bytes a key: every new id is looked up in them, and where they do not fit into the
    # cache each look-up reads megabytes.
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options
