"""A checkpoint is there whole or not at all, and what is damaged is named and passed over."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.storage.checkpoint import (
    CheckpointError,
    CheckpointVersionError,
    Part,
    read_checkpoint,
    write_checkpoint,
)

HERE = Path(__file__).parent
OnSmallDisk = Callable[[Path, int], str]
DTYPES: list[Any] = [bool, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
PARTS = st.dictionaries(
    NAMES, st.binary(max_size=200) | st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3), max_size=4
)


def parts_at(position: int) -> dict[str, Part]:
    return {"tables": {"rows": np.full(100, position), "keys": np.arange(100)}, "labels": b"%d" % position * 50}


def written(folder: Path, *positions: int) -> list[Path]:
    return [write_checkpoint(folder, position, parts_at(position)).path for position in positions]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def equal(one: object, other: object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one == other
    same = all(one[k].dtype == other[k].dtype and one[k].shape == other[k].shape for k in one if k in other)
    return same and one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


def assert_restores(folder: Path, position: int, warnings: int = 0) -> None:
    restored = read_checkpoint(folder)
    assert restored is not None
    assert (restored.position, len(restored.warnings)) == (position, warnings)
    assert restored.parts.keys() == parts_at(position).keys()
    assert all(equal(part, parts_at(position)[name]) for name, part in restored.parts.items())


@settings(max_examples=40, deadline=None)
@given(parts=PARTS, position=st.integers(0, 2**62))
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, Part], position: int
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder, position, parts)
    restored = read_checkpoint(folder)
    assert restored is not None
    assert (restored.position, restored.warnings) == (position, ())
    assert restored.parts.keys() == parts.keys()
    assert all(equal(restored.parts[name], part) for name, part in parts.items())


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4).T, np.arange(9)[::-2], np.arange(4, dtype=">f4")])
def test_numbers_survive_any_layout_of_memory(tmp_path: Path, array: NDArray[Any]) -> None:
    write_checkpoint(tmp_path, 1, {"p": {"x": array}})
    restored = read_checkpoint(tmp_path)
    assert restored is not None
    part = restored.parts["p"]
    assert isinstance(part, dict)
    assert part["x"].tolist() == array.tolist()
    part["x"][0] = 1


def test_a_folder_without_any_is_a_fresh_start(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    assert read_checkpoint(tmp_path / "never made") is None


def test_the_newest_two_are_kept_and_the_log_is_needed_from_the_older(tmp_path: Path) -> None:
    oldest = [write_checkpoint(tmp_path, position, parts_at(position)).oldest_position for position in (5, 9, 9, 30)]
    assert oldest == [0, 5, 9, 9], "with one alone, the log is the way back, from its beginning"
    assert names(tmp_path) == ["checkpoint-0000000003", "checkpoint-0000000004"]
    assert_restores(tmp_path, 30)


@pytest.mark.parametrize("file", ["manifest.json", "tables.safetensors", "labels.bin"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "deleted"])
def test_a_damaged_newest_one_falls_back_to_the_one_before(tmp_path: Path, file: str, damage: str) -> None:
    _, newest = written(tmp_path, 1, 2)
    path = newest / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = {"flipped": bytes(data), "cut": bytes(data[:-3]), "longer": path.read_bytes() + b" ."}
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    restored = read_checkpoint(tmp_path)
    assert restored is not None
    assert "is damaged and was passed over" in restored.warnings[0]
    assert str(newest) in restored.warnings[0]
    assert_restores(tmp_path, 1)
    assert names(tmp_path) == ["checkpoint-0000000001", "damaged-checkpoint-0000000002"]
    written(tmp_path, 3)
    assert "checkpoint-0000000001" in names(tmp_path), "the whole one stays, not the damaged one"
    assert_restores(tmp_path, 3)


def test_every_flipped_byte_of_a_manifest_is_seen(tmp_path: Path) -> None:
    _, newest = written(tmp_path, 1, 2)
    whole = (newest / "manifest.json").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 7
        (newest / "manifest.json").write_bytes(damaged)
        assert_restores(tmp_path, 1, warnings=1)
        (tmp_path / f"damaged-{newest.name}").rename(newest)
    (newest / "manifest.json").write_bytes(whole)
    assert_restores(tmp_path, 2)


def test_if_none_is_whole_it_says_so_rather_than_start_afresh(tmp_path: Path) -> None:
    for path in written(tmp_path, 1, 2):
        (path / "labels.bin").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole: .*move it away to start afresh"):
            read_checkpoint(tmp_path)


def test_another_format_version_is_named_and_not_passed_over(tmp_path: Path) -> None:
    _, newest = written(tmp_path, 1, 2)
    manifest = msgspec.json.decode((newest / "manifest.json").read_bytes())
    body = b'{"quite":"different"}'
    manifest |= {"format": 7, "xxh3_128": xxhash.xxh3_128_hexdigest(b"7:" + body), "body": msgspec.Raw(body)}
    (newest / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(CheckpointVersionError, match="has format 7, this release reads format 3: use the release"):
        read_checkpoint(tmp_path)
    assert names(tmp_path) == ["checkpoint-0000000001", "checkpoint-0000000002"]


def test_what_a_killed_writer_left_is_not_read_and_is_cleared_away(tmp_path: Path) -> None:
    written(tmp_path, 1)
    draft = tmp_path / "draft-checkpoint-0000000002"
    draft.mkdir()
    (draft / "tables.safetensors").write_bytes(b"half")
    assert_restores(tmp_path, 1)
    written(tmp_path, 2)
    assert not draft.exists()
    assert_restores(tmp_path, 2)


@pytest.mark.parametrize("name", ["", "Upper", "../up", "a/b", "é", ".hidden", "x" * 101])
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        write_checkpoint(tmp_path, 1, {name: b""})


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(1, complex)])
def test_only_numbers_are_arrays(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="array 'x' of part 'p' has dtype"):
        write_checkpoint(tmp_path, 1, {"p": {"x": array}})
    assert names(tmp_path) == []


def test_a_failing_disk_leaves_the_old_ones_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 1, 2)
    failures = metrics.REGISTRY.get_sample_value("stream_reco_checkpoint_failures_total", {"action": "write"}) or 0.0

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(CheckpointError, match=r"position 3 could not be written to .*Input/output error"):
            write_checkpoint(tmp_path, 3, parts_at(3))
    assert names(tmp_path) == ["checkpoint-0000000001", "checkpoint-0000000002"]
    assert_restores(tmp_path, 2)
    after = metrics.REGISTRY.get_sample_value("stream_reco_checkpoint_failures_total", {"action": "write"})
    assert after == failures + 1


def test_a_disk_that_cannot_be_read_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 1, 2)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(CheckpointError, match=r"cannot be read: .*Input/output error"):
            read_checkpoint(tmp_path)
    assert_restores(tmp_path, 2)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="choose another folder"):
        write_checkpoint(tmp_path / "file", 1, {})


def test_its_size_is_told(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1, parts_at(1)).path
    size = sum(file.stat().st_size for file in path.iterdir())
    assert metrics.REGISTRY.get_sample_value("stream_reco_checkpoint_bytes") == size


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_dash_nine_at_any_moment_leaves_a_whole_one(tmp_path: Path, seed: int) -> None:
    script = [sys.executable, str(HERE / "checkpoint_until_killed.py"), str(tmp_path / "checkpoints"), str(seed)]
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10


def test_a_full_disk_leaves_the_old_ones(on_small_disk: OnSmallDisk) -> None:
    printed = on_small_disk(HERE / "checkpoint_until_full.py", 2_000_000)
    assert "could not be written" in printed
    assert "the older checkpoints are untouched" in printed
    assert "kept " in printed


def test_a_part_may_be_a_folder_of_its_own(tmp_path: Path) -> None:
    shared = tmp_path / "never changed.sst"
    shared.write_bytes(b"1" * 1000)

    def write(folder: Path) -> None:
        folder.mkdir()
        os.link(shared, folder / shared.name)
        (folder / "CURRENT").write_text("now")

    for position in (1, 2):
        write_checkpoint(tmp_path / "checkpoints", position, {"store": write, "rest": b"rest"})
    restored = read_checkpoint(tmp_path / "checkpoints")
    assert restored is not None
    folder = restored.parts["store"]
    assert isinstance(folder, Path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        shared.name: b"1" * 1000,
        "CURRENT": b"now",
    }
    assert restored.parts["rest"] == b"rest"
    (folder / "CURRENT").write_text("not")
    again = read_checkpoint(tmp_path / "checkpoints")
    assert again is not None
    assert (again.position, len(again.warnings)) == (1, 1)


def linking(shared: Path, written: bytes = b"now") -> Callable[[Path], None]:
    """A part that takes what is in `shared` by hard links, as a store's checkpoint does."""

    def write(folder: Path) -> None:
        folder.mkdir()
        for file in shared.iterdir():
            os.link(file, folder / file.name)
        (folder / "CURRENT").write_bytes(written)

    return write


def inodes(folder: Path) -> set[int]:
    return {file.stat().st_ino for file in folder.rglob("*") if file.is_file()}


def test_two_checkpoints_in_a_row_share_no_file_and_copy_each_once(tmp_path: Path) -> None:
    (shared := tmp_path / "store").mkdir()
    folder, kept, copies = tmp_path / "checkpoints", [], 0
    for position in range(1, 9):
        (shared / f"{position}.sst").write_bytes(b"%d" % position * 1000)
        before = inodes(tmp_path)
        kept.append(write_checkpoint(folder, position, {"store": linking(shared), "rest": b"rest"}).path)
        copies += len({inode for inode in inodes(kept[-1] / "store") if inode not in before}) - 1  # CURRENT is new
        if position > 1:
            assert not inodes(kept[-1]) & inodes(kept[-2])
        assert {file.name for file in (kept[-1] / "store").glob("*.sst")} == {
            f"{n}.sst" for n in range(1, position + 1)
        }
        restored = read_checkpoint(folder)
        assert restored is not None
        assert (restored.position, restored.warnings) == (position, ())
    # 1.sst to 7.sst were copied once, by the second, fourth, … checkpoint; those shared only with the store are links.
    assert copies == 7


@pytest.mark.parametrize("place", ["store", "newest"])
def test_one_bad_bit_in_a_shared_file_leaves_the_other_checkpoint(tmp_path: Path, place: str) -> None:
    (shared := tmp_path / "store").mkdir()
    (shared / "1.sst").write_bytes(b"1" * 1000)
    folder = tmp_path / "checkpoints"
    paths = [write_checkpoint(folder, n, {"store": linking(shared)}).path for n in (1, 2, 3)]
    damaged = shared / "1.sst" if place == "store" else paths[-1] / "store" / "1.sst"
    with damaged.open("r+b") as file:
        file.write(b"2")
    restored = read_checkpoint(folder)
    assert restored is not None
    assert (restored.position, len(restored.warnings)) == (2, 1)


def test_a_shared_file_that_was_damaged_since_is_not_written_into_a_checkpoint(tmp_path: Path) -> None:
    (shared := tmp_path / "store").mkdir()
    (shared / "1.sst").write_bytes(b"1" * 1000)
    folder = tmp_path / "checkpoints"
    for position in (1, 2):
        write_checkpoint(folder, position, {"store": linking(shared)})
    whole = (shared / "1.sst").stat()
    with (shared / "1.sst").open("r+b") as file:
        file.write(b"2")
    os.utime(shared / "1.sst", ns=(whole.st_atime_ns, whole.st_mtime_ns))
    with pytest.raises(CheckpointError, match=r"store/1\.sst is damaged on the disk: start again"):
        write_checkpoint(folder, 3, {"store": linking(shared)})
    restored = read_checkpoint(folder)
    assert restored is not None
    assert (restored.position, restored.warnings) == (2, ())


def test_a_damaged_previous_one_is_not_counted_as_kept(tmp_path: Path) -> None:
    first, second = written(tmp_path, 1, 2)
    with (second / "labels.bin").open("r+b") as file:
        file.write(b"x")
    third = write_checkpoint(tmp_path, 3, parts_at(3))
    assert third.oldest_position == 1, "the log must reach back to the older one that is whole"
    assert names(tmp_path) == [first.name, third.path.name, f"damaged-{second.name}"]
    (third.path / "manifest.json").unlink()
    assert_restores(tmp_path, 1, warnings=1)


def test_a_folder_of_an_earlier_release_whose_checkpoints_share_files_is_mended(tmp_path: Path) -> None:
    (shared := tmp_path / "store").mkdir()
    (shared / "1.sst").write_bytes(b"1" * 1000)
    folder = tmp_path / "checkpoints"
    paths = [write_checkpoint(folder, n, {"store": linking(shared)}).path for n in (1, 2)]
    (paths[1] / "store" / "1.sst").unlink()
    os.link(shared / "1.sst", paths[1] / "store" / "1.sst")
    assert inodes(paths[0]) & inodes(paths[1])
    third = write_checkpoint(folder, 3, {"store": linking(shared)}).path
    assert not inodes(third) & inodes(paths[1])
