"""An ordered key/value store on disk: RocksDB, under changes that are not committed yet.

All that a commit brings is written in one atomic batch, the position of the input with it. There is no write-ahead log:
after a kill the store is that of an earlier commit, whole, and `position` says which input to give again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from stream_reco.storage.sortable_keys import end_of

Changes = Mapping[bytes, bytes | None]
"""New value by key; None: the key is gone."""

_UNCHANGED = b"\x00unchanged"
_POSITION = b"\x00position"
_MEGABYTE = 1 << 20


class StoreError(OSError):
    """A store cannot be opened or written; the text says why and what to do."""


class RocksStore:
    """Bytes by keys in a folder that belongs to one process at a time."""

    def __init__(self, folder: str | Path, cache_megabytes: int = 64) -> None:
        """Open what is in `folder`, or begin there. Raises StoreError."""
        self.folder = Path(folder)
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._db = Rdict(str(self.folder), _options(cache_megabytes))
        except Exception as error:  # rocksdict raises bare exceptions
            raise StoreError(
                f"the labels' store in {self.folder} cannot be opened: {error}. If another process has it open, end"
                " that; if it is damaged, remove the folder and replay what came since the last checkpoint"
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

    def put(self, key: bytes, value: bytes) -> None:
        self._changes[key] = value

    def delete(self, key: bytes) -> None:
        self._changes[key] = None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with start ≤ key < end in order, with their values as they are now.

        Keys that are new since the last commit are not among them.
        """
        bounded = ReadOptions()
        # Behind the last of them may lie many keys that are gone, which the iterator would step over one by one.
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
        """What the next commit will write, besides its position."""
        return dict(self._changes)

    @property
    def uncommitted(self) -> int:
        """Keys with a change that is not committed."""
        return len(self._changes)

    @property
    def position(self) -> bytes | None:
        """What the last commit said where the input stood; None before the first."""
        value: bytes | None = self._db.get(_POSITION)
        return value

    def commit(self, position: bytes) -> Changes:
        """Make all changes last, at once, and return them: applied in order to another store they make it the same.

        Raises StoreError with nothing changed: what was to be written still waits.
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
            told = f"the labels' store in {self.folder} cannot be written: {error}; free space there"
            raise StoreError(told) from error
        self._changes = {}  # only now, for other threads may be reading
        return changes

    def apply(self, changes: Changes, position: bytes | None = None) -> None:
        """Take changes over that another store's `commit` returned; to be done before a joiner opens this one.

        The position is theirs, or the one that is given.
        """
        self._changes.update(changes)
        self.commit(position or changes.get(_POSITION) or self.position or b"")

    def flush(self) -> None:
        """Bring all that is committed to the disk, so that it outlives the process."""
        self._db.flush()

    def checkpoint(self, folder: Path) -> None:
        """Write all that is committed to a new folder; files that do not change any more are shared by links."""
        try:
            Checkpoint(self._db).create_checkpoint(str(folder))
        except Exception as error:
            raise StoreError(f"no checkpoint of the labels' store could be written to {folder}: {error}") from error

    @property
    def nbytes(self) -> int:
        """Bytes of the files, and of what waits in memory to be written to them."""
        tables: int | None = self._db.property_int_value("rocksdb.live-sst-files-size")
        waiting: int | None = self._db.property_int_value("rocksdb.cur-size-all-mem-tables")
        return (tables or 0) + (waiting or 0)

    def close(self) -> None:
        """What is not committed is lost."""
        self._db.close()


def copy_of(source: Path, folder: Path) -> RocksStore:
    """A store in `folder`, replacing what was there, with what a checkpoint in `source` holds, which stays as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in source.iterdir():
        copy = folder / file.name
        if file.suffix != ".sst" or not _linked(file, copy):
            shutil.copyfile(file, copy)
    return RocksStore(folder)


def _linked(file: Path, copy: Path) -> bool:
    """Let a table, which RocksDB never changes, stand in a second place; False where the file system cannot."""
    try:
        os.link(file, copy)
    except OSError:
        return False
    return True


def _options(cache_megabytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(32 * _MEGABYTE)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(cache_megabytes * _MEGABYTE))
    blocks.set_block_size(16 * 1024)
    # Filters stay in memory, 1.25 bytes a key: every new id asks them, and where they do not fit into the cache each
    # question reads megabytes.
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options
