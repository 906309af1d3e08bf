"""One request sees one version, however many read while publications are applied."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_reco.sync import InProcessChannel, Replica
from stream_reco.sync.read_write_lock import ReadersWriterLock

if TYPE_CHECKING:
    from tests.sync.conftest import Toy

PATIENCE = 10.0


def test_a_reader_never_sees_two_versions(toy: Toy) -> None:
    notes, channel = toy.notes(), InProcessChannel()
    replica = Replica("m", {"dense": notes})
    channel.send(toy.publication(1, 0))
    replica.poll(channel)
    mixed, reads, done = [], [0], threading.Event()

    def read() -> None:
        while not done.is_set():
            with replica.reading() as view:
                version = view.version
                row = view.tables["item"].lookup(np.array([7]))[0].tolist()
                if not row == [version, version] == [notes.parts["w"][0], view.version]:
                    mixed.append((version, row, notes.parts["w"][0], view.version))
                reads[0] += 1

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(2, 300):
        channel.send(toy.publication(version, 0 if version % 50 == 0 else version - 1))
        replica.poll(channel)
    done.set()
    for reader in readers:
        reader.join(PATIENCE)
    assert mixed == []
    assert reads[0] > 0
    assert replica.version == 299


def test_readers_share_and_the_writer_waits_for_them() -> None:
    lock, wrote = ReadersWriterLock(), threading.Event()
    inside = threading.Barrier(3)
    leave = threading.Event()

    def read() -> None:
        with lock.reading():
            inside.wait(PATIENCE)
            leave.wait(PATIENCE)

    def write() -> None:
        with lock.writing():
            wrote.set()

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for thread in readers:
        thread.start()
    inside.wait(PATIENCE)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert not wrote.wait(0.1)
    leave.set()
    assert wrote.wait(PATIENCE)


def test_a_waiting_writer_goes_before_new_readers_but_not_before_nested_ones() -> None:
    lock, order = ReadersWriterLock(), []
    begun = threading.Event()

    def write() -> None:
        begun.set()
        with lock.writing():
            order.append("write")

    def read() -> None:
        with lock.reading():
            order.append("read")

    writer, reader = threading.Thread(target=write, daemon=True), threading.Thread(target=read, daemon=True)
    with lock.reading():
        writer.start()
        begun.wait(PATIENCE)
        while not lock.writer_waits:
            pass
        reader.start()
        reader.join(0.1)
        assert order == []
        with lock.reading():
            order.append("nested")
    writer.join(PATIENCE)
    reader.join(PATIENCE)
    assert order == ["nested", "write", "read"]


def test_writing_inside_reading_says_so_instead_of_hanging(toy: Toy) -> None:
    replica, channel = Replica("m"), InProcessChannel()
    channel.send(toy.publication(1, 0))
    with replica.reading(), pytest.raises(RuntimeError, match="leave `reading"):
        replica.poll(channel)
