"""The store on disk: whole after a kill, unchanged in a checkpoint, open in one process at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from stream_reco.storage.rocksdb import RocksStore, StoreError, copy_of


def test_after_a_kill_the_store_is_that_of_a_commit(tmp_path: Path) -> None:
    """What was not flushed may be gone, but then all of it is, and the position says so."""
    program = f"""
import os
from stream_reco.storage.rocksdb import RocksStore
store = RocksStore({str(tmp_path / "store")!r})
for number in range(1, 4001):
    for key in range(50):
        store.put(b"%03d" % key, b"%d" % number * 20)
    store.commit(b"%d" % number)
    if number in (1000, 3000):
        store.flush()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    with closing(RocksStore(tmp_path / "store")) as store:
        position = store.position
        assert position is not None
        assert 3000 <= int(position) <= 4000
        assert {value for _, value in store.scan(b"0", b"1")} == {position * 20}


def test_a_checkpoint_stays_as_it_was(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        store.put(b"a", b"1")
        store.commit(b"first")
        store.checkpoint(tmp_path / "checkpoint")
        store.put(b"a", b"2")
        store.put(b"b", b"3")
        store.commit(b"second")
    for _ in range(2):
        with closing(copy_of(tmp_path / "checkpoint", tmp_path / "copy")) as copy:
            assert (copy.position, copy.get(b"a"), copy.get(b"b")) == (b"first", b"1", None)
            copy.put(b"a", b"4")
            copy.commit(b"third")
            copy.flush()


def test_a_store_that_is_open_elsewhere_is_named(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")), pytest.raises(StoreError, match=r"another process has it open"):
        RocksStore(tmp_path / "store")


def test_many_keys_are_read_as_one_by_one(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        for key in (b"kept", b"changed", b"deleted", b"back"):
            store.put(key, b"1")
        store.commit(b"")
        keys = [b"back", b"absent", b"kept", b"changed", b"new", b"deleted", b"kept"]
        assert store.get_many(keys) == list(map(store.get, keys))
        store.put(b"changed", b"2")
        store.put(b"new", b"3")
        store.delete(b"deleted")
        store.delete(b"back")
        store.put(b"back", b"4")
        assert store.get_many(keys) == [b"4", None, b"1", b"2", b"3", None, b"1"] == list(map(store.get, keys))
        assert store.get_many([]) == []


def test_many_keys_are_read_while_another_thread_writes(tmp_path: Path) -> None:
    """Reading them lets other threads run: whatever these do to the store, nothing fails or is missed."""
    keys = [b"k%04d" % number for number in range(500)]
    done, read = threading.Event(), 0

    def write() -> None:
        try:
            for number in range(40):
                for key in keys:
                    store.put(key, b"%d" % number)
                store.commit(b"%d" % number)
                if number % 10 == 5:
                    store.flush()
                    store.checkpoint(tmp_path / f"checkpoint-{number}")
                    store.erase_deleted()
        finally:
            done.set()

    with closing(RocksStore(tmp_path / "store")) as store:
        for key in keys:
            store.put(key, b"first")
        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            assert None not in store.get_many(keys)
            read += 1
        writer.join()
        assert read > 10
        assert store.get_many(keys) == [b"39"] * len(keys)
