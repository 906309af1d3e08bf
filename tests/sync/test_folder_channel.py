"""What only the channel over a folder does: files, bounds, a full disk, damage, and processes that are killed."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco import metrics
from stream_reco.sync import (
    BadPublication,
    ChannelRefused,
    ChannelUnreachable,
    Delivery,
    FolderChannel,
    Publication,
    encode,
)
from stream_reco.sync.wire import decode_mapped, pieces_of
from tests.sync.conftest import small
from tests.sync.same_publication import same

if TYPE_CHECKING:
    from tests.sync.conftest import Toy

MANY_ROWS = 200_000
"""float64: a snapshot of 1.6 MB takes long enough to write for a kill to fall into it."""
PUBLISHER = f"""
import sys
from pathlib import Path
import numpy as np
from stream_reco.sync import FolderChannel
from tests.sync.conftest import small
epoch = int(sys.argv[2])
channel = FolderChannel.cleared(Path(sys.argv[1]))
print("begins", flush=True)
for version in range(1, 10**6):
    base = 0 if version % 3 == 1 else version - 1
    channel.send(small(version, base, epoch=epoch, dense={{"w": np.full({MANY_ROWS}, version, float)}}))
"""
READER = """
import sys
from pathlib import Path
from stream_reco.sync import FolderChannel
channel, cursor = FolderChannel(Path(sys.argv[1])), ""
print("begins", flush=True)
while True:
    for entry in channel.read(cursor, 3):
        cursor = entry.cursor
    channel.ask_for_snapshot()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "channel"


def versions(deliveries: list[Delivery]) -> list[int]:
    return [one.publication.version for one in deliveries if isinstance(one.publication, Publication)]


def reasons(deliveries: list[Delivery]) -> list[str]:
    return [one.publication.reason for one in deliveries if isinstance(one.publication, BadPublication)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def started(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


# --- what is kept


def test_a_snapshot_deletes_what_was_before_and_goes_when_it_is_old(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    for version in range(1, 20):
        channel.send(toy.publication(version, 0 if version in (1, 4) else version - 1))
        kept = versions(FolderChannel(folder).read("", 100))
        if version >= 4:
            assert kept == list(range(4 if version <= 12 else 5, version + 1))
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_publications") == len(files(folder)) == 15


def test_deltas_keep_within_the_bytes_but_a_large_snapshot_is_not_lost_at_once(folder: Path, toy: Toy) -> None:
    one = len(encode(toy.publication(9, 8)))
    channel = FolderChannel.cleared(folder, nbytes=3 * one)
    channel.send(toy.publication(1, 0, dense={"w": np.zeros(one)}))
    for version in (2, 3, 4):
        channel.send(toy.publication(version, version - 1))
        assert versions(channel.read("", 100)) == list(range(1, version + 1))
    channel.send(toy.publication(5, 4))
    assert versions(channel.read("", 100)) == [3, 4, 5]
    kept = sum(path.stat().st_size for path in files(folder))
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_bytes") == kept <= 3 * one
    channel.send(toy.publication(6, 5, dense={"w": np.zeros(4 * one)}))
    assert versions(channel.read("", 100)) == [6], "the newest always stays"


@pytest.mark.parametrize("bound", ["publications", "nbytes"])
def test_a_bound_of_nothing_is_refused(folder: Path, bound: str) -> None:
    bounds: dict[str, Any] = {bound: 0}
    with pytest.raises(ValueError, match=f"{bound} is 0"):
        FolderChannel(folder, **bounds)


def test_what_an_earlier_process_left_is_deleted_and_a_request_stays(
    folder: Path, toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    before = FolderChannel.cleared(folder)
    before.send(toy.publication(1, 0))
    before.send(toy.publication(2, 1))
    (folder / f"{files(folder)[0].name}.unfinished").write_bytes(b"half")
    (folder / "of-somebody-else").touch()
    before.ask_for_snapshot()
    with caplog.at_level(logging.INFO):
        channel = FolderChannel.cleared(folder)
    assert "deleted 3 publications, 1 of them unfinished" in caplog.text
    assert [path.name for path in files(folder)] == ["of-somebody-else", "snapshot-wanted"]
    assert channel.snapshot_wanted()


def test_what_is_not_above_the_newest_is_refused(folder: Path, toy: Toy) -> None:
    leader, zombie = FolderChannel.cleared(folder), FolderChannel(folder)
    leader.send(toy.publication(1, 0, epoch=5))
    for publication in (toy.publication(9, 8, epoch=4), toy.publication(1, 0, epoch=5)):
        with pytest.raises(ChannelRefused, match="not above"):
            zombie.send(publication)
    assert versions(leader.read("", 9)) == [1]


def test_a_publisher_whose_folder_was_emptied_is_asked_for_everything(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    channel.send(toy.publication(1, 0))
    assert not channel.snapshot_wanted()
    files(folder)[0].unlink()
    assert channel.snapshot_wanted()
    folder.rmdir()
    channel.send(toy.publication(2, 0))
    assert versions(channel.read("", 9)) == [2]


def test_without_a_folder_readers_are_told_so(folder: Path) -> None:
    reader = FolderChannel(folder)
    for asked in (lambda: reader.read("", 1), reader.ask_for_snapshot):
        with pytest.raises(ChannelUnreachable, match=str(folder)):
            asked()


def test_each_publication_is_seen_at_once_however_close_it_follows(folder: Path, toy: Toy) -> None:
    channel, reader, cursor = FolderChannel.cleared(folder), FolderChannel(folder), ""
    for version in range(1, 400):
        assert reader.read(cursor, 9) == []
        channel.send(toy.publication(version, version - 1))
        (entry,) = reader.read(cursor, 9)
        cursor = entry.cursor


# --- a request while a snapshot is sent


def test_a_request_during_the_last_step_is_kept_and_one_before_is_fulfilled(
    folder: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, rename = FolderChannel.cleared(folder), os.rename
    for before, kept in ((False, True), (True, False)):
        version = 1 if kept else 2

        def ask(source: Path, target: Path) -> None:
            FolderChannel(folder).ask_for_snapshot()
            rename(source, target)

        def ask_while_written(publication: Publication) -> list[bytes | memoryview]:
            FolderChannel(folder).ask_for_snapshot()
            return pieces_of(publication)

        with monkeypatch.context() as patch:
            if before:
                patch.setattr("stream_reco.sync.folder_channel.pieces_of", ask_while_written)
            else:
                patch.setattr(os, "rename", ask)
            channel.send(toy.publication(version, 0))
        assert channel.snapshot_wanted() is kept


def test_a_snapshot_that_fails_at_the_last_step_leaves_the_request(
    folder: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = FolderChannel.cleared(folder)
    channel.ask_for_snapshot()

    def fails(*_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fails)
        with pytest.raises(ChannelRefused, match="Input/output error"):
            channel.send(toy.publication(1, 0))
    assert channel.snapshot_wanted()
    assert [path.name for path in files(folder)] == ["snapshot-wanted"]


# --- a disk that takes no more


def test_a_full_disk_refuses_and_leaves_nothing(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    channel.send(toy.publication(1, 0))
    before = files(folder)
    name = f"{2:020d}".join([f"{1:020d}-", ".snapshot.unfinished"])
    (folder / name).symlink_to("/dev/full")  # every write to it is a real ENOSPC
    with pytest.raises(ChannelRefused, match=r"snapshot 2 .* was not written to .*No space left.*Free room"):
        channel.send(toy.publication(2, 0, dense={"w": np.zeros(100_000)}))
    assert files(folder) == before
    channel.send(toy.publication(2, 1))
    assert versions(channel.read("", 9)) == [1, 2]


def test_a_write_that_ends_half_way_refuses_and_leaves_nothing(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(ChannelRefused, match="File too large"):
            channel.send(toy.publication(1, 0, dense={"w": np.zeros(100_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(folder) == []


def test_what_cannot_be_encoded_is_refused(folder: Path, toy: Toy) -> None:
    with pytest.raises(ChannelRefused, match="dtype"):
        FolderChannel.cleared(folder).send(toy.publication(1, 0, dense={"w": np.array(["text"])}))
    assert files(folder) == []


# --- damage


@pytest.mark.parametrize("contents", [b"", b"x", b"SRPB", None])
def test_damage_is_told_and_what_follows_is_read(folder: Path, toy: Toy, contents: bytes | None) -> None:
    channel = FolderChannel.cleared(folder)
    for version in (1, 2, 3):
        channel.send(toy.publication(version, version - 1))
    second = files(folder)[1]
    second.write_bytes(second.read_bytes()[:-1] if contents is None else contents)
    entries = channel.read("", 9)
    assert (versions(entries), reasons(entries)) == ([1, 3], ["checksum" if contents is None else "format"])
    assert entries[1].cursor == second.name


def test_a_file_under_a_wrong_number_is_none(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    channel.send(toy.publication(1, 0))
    files(folder)[0].rename(folder / f"{1:020d}-{7:020d}.snapshot")
    assert reasons(channel.read("", 9)) == ["format"]


def test_a_file_that_vanishes_while_it_is_read_is_a_gap(
    folder: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, listdir = FolderChannel.cleared(folder), os.listdir
    for version in (1, 2, 3):
        channel.send(toy.publication(version, version - 1))

    def lists_and_deletes(path: Path) -> list[str]:
        names = listdir(path)
        (path / sorted(names)[0]).unlink()
        return names

    monkeypatch.setattr(os, "listdir", lists_and_deletes)
    assert versions(channel.read("", 1)) == [2]


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=50)
def test_any_flipped_bit_is_found_in_a_mapping(place: int, bit: int) -> None:
    data = bytearray(encode(small(1, 0)))
    data[place % len(data)] ^= 1 << bit
    with mmap.mmap(-1, len(data)) as mapped:
        mapped[:] = bytes(data)
        with pytest.raises(BadPublication):
            decode_mapped(mapped)


def test_arrays_are_written_from_where_they_are_and_read_from_the_mapping(folder: Path, toy: Toy) -> None:
    types: list[Any] = [np.bool_, np.int8, np.uint16, np.float16, np.int32, np.float32, np.uint64, np.float64]
    parts = {np.dtype(one).name: np.ones((3, 1), one) for one in types} | {"empty": np.empty((0, 4))}
    parts["scalar"] = np.array(2.5)
    sent = toy.publication(1, 0, dense=parts)
    views = [np.frombuffer(piece, np.uint8) for piece in pieces_of(sent) if isinstance(piece, memoryview)]
    assert all(array.size == 0 or any(np.shares_memory(array, view) for view in views) for array in parts.values())
    channel = FolderChannel.cleared(folder)
    channel.send(sent)
    (entry,) = channel.read("", 1)
    files(folder)[0].unlink()
    assert isinstance(entry.publication, Publication)
    assert same(entry.publication, sent)
    for array in entry.publication.dense.values():
        assert array.flags.aligned
        assert array.flags.writeable
        assert array.size == 0 or not array.flags.owndata


# --- processes


def test_a_publisher_that_is_killed_leaves_whole_publications_only(folder: Path) -> None:
    unfinished, read = 0, 0
    reader, cursor = FolderChannel(folder), ""
    for epoch in range(1, 9):
        process = started(PUBLISHER, str(folder), str(epoch))
        until = time.monotonic() + 0.1 + 0.013 * epoch
        while time.monotonic() < until:
            cursor, new = followed(reader, cursor)
            read += new
        kill(process)
        cursor, new = followed(reader, cursor)
        read += new
        unfinished += sum(path.name.endswith(".unfinished") for path in files(folder))
    assert read > 8
    assert unfinished, "no kill fell into a write: the test proves nothing"
    FolderChannel.cleared(folder)
    assert files(folder) == []


def followed(reader: FolderChannel, cursor: str) -> tuple[str, int]:
    """Reads what is new, all of it whole and in order; returns where it is now and how many it read."""
    entries = reader.read(cursor, 100)
    for entry in entries:
        assert isinstance(entry.publication, Publication), entry.publication
        assert entry.cursor > cursor
        assert np.all(entry.publication.dense["w"] == entry.publication.version)
        cursor = entry.cursor
    return cursor, len(entries)


def test_a_reader_that_is_killed_disturbs_nobody(folder: Path, toy: Toy) -> None:
    channel = FolderChannel.cleared(folder)
    process = started(READER, str(folder))
    for version in range(1, 200):
        channel.send(toy.publication(version, version - 1))
    while not channel.snapshot_wanted():
        time.sleep(0.01)
    kill(process)
    channel.send(toy.publication(200, 0))
    assert not channel.snapshot_wanted()
    assert versions(channel.read("", 100)) == [200]


# --- against a plain list

STEPS = st.lists(st.sampled_from(["delta", "snapshot", "refused", "ask", "read", "lose", "epoch"]), max_size=40)


@given(steps=STEPS, publications=st.integers(1, 12), limit=st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_any_sequence_does_what_a_plain_list_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], publications: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("channel")
    channel, reader = FolderChannel.cleared(folder, publications=publications), FolderChannel(folder)
    kept: list[tuple[int, int, bool]] = []
    seen, cursor = (0, 0), ""
    epoch, version, wanted, lost = 1, 0, False, False
    for step in steps:
        if step in ("delta", "snapshot"):
            version += 1
            whole = step == "snapshot" or version == 1
            channel.send(small(version, 0 if whole else version - 1, epoch=epoch))
            kept = expected([*kept, (epoch, version, whole)], publications)
            wanted, lost = wanted and not whole, False
        elif step == "refused" and version:
            with pytest.raises(ChannelRefused):
                channel.send(small(version, 0, epoch=epoch))
        elif step == "ask":
            reader.ask_for_snapshot()
            wanted = True
        elif step == "epoch":
            epoch, version = epoch + 1, 0
        elif step == "lose" and kept:
            name = max(path.name for path in folder.iterdir() if path.name != "snapshot-wanted")
            (folder / name).unlink()
            kept.pop()
            lost = True
        elif step == "read":
            entries = reader.read(cursor, limit)
            newer = [one for one in kept if one[:2] > seen][:limit]
            cursor = entries[-1].cursor if entries else cursor
            seen = newer[-1][:2] if newer else seen
            assert [numbered(entry) for entry in entries] == newer
        assert channel.snapshot_wanted() == (wanted or lost)
    assert [numbered(entry) for entry in reader.read("", 100)] == kept


def numbered(entry: Delivery) -> tuple[int, int, bool]:
    assert isinstance(entry.publication, Publication)
    return entry.publication.epoch, entry.publication.version, entry.publication.snapshot


def expected(kept: list[tuple[int, int, bool]], publications: int) -> list[tuple[int, int, bool]]:
    """What is left of it by the rules: the newest, from the newest snapshot on, which goes after eight deltas."""
    snapshots = [number for number, one in enumerate(kept) if one[2]]
    kept = kept[snapshots[-1] :] if snapshots else kept
    kept = kept[-publications:]
    return kept[1:] if kept[0][2] and len(kept) > 9 else kept
