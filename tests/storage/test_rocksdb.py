"""The store on disk: whole after a kill, unchanged in a checkpoint, open in one process at a time."""

from __future__ import annotations

import subprocess
import sys
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
