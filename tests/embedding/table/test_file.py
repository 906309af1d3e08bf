"""A table's file: it comes back bit for bit or is refused with its reason, and a failed save loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from stream_reco.embedding import Adagrad, Admission, EmbeddingTable, TableFileError, after, probability
from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.table import file, row_store
from tests.embedding.table.saved_tables import bytes_of, live_on, trained

HERE = Path(__file__).parent
OnSmallDisk = Callable[[Path, int], str]
HEADER = 4096
BOTH = pytest.mark.parametrize("mapped", [False, True], ids=["copied", "mapped"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "item.table"
    trained().save(path)
    return path


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 16 rows, so that small tables have whole ones."""
    monkeypatch.setattr(row_store, "PAGE_BYTES", 64)


def header_of(content: bytes) -> dict[str, Any]:
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    return header


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    whole = path.read_bytes()
    path.write_bytes(content)
    yield
    path.write_bytes(whole)


# --- what comes back


@BOTH
@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("admission", [None, after(2), probability(0.5)])
@pytest.mark.usefixtures("_small_pages")
def test_a_loaded_table_goes_on_bit_for_bit(
    tmp_path: Path, admission: Admission | None, kind: type[str] | type[Path], mapped: bool
) -> None:
    table = trained(admission=admission)
    table.save(kind(tmp_path / "item.table"))
    loaded = EmbeddingTable.load(kind(tmp_path / "item.table"), dim=4, mapped=mapped)
    loaded.check_invariants()
    assert [path.name for path in tmp_path.iterdir()] == ["item.table"]
    assert bytes_of(loaded, tmp_path) == bytes_of(table, tmp_path)
    for now in range(400, 800, 20):
        one, other = (live_on(each, np.random.default_rng(now), now, 500, 100) for each in (table, loaded))
        assert one == other
    assert bytes_of(loaded, tmp_path) == bytes_of(table, tmp_path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("_small_pages")
def test_mapped_and_copied_tables_never_differ(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    steady = EmbeddingTable(3, "adagrad", ttl_ms=120, name="t", seed=seed)
    tables = [steady, steady, steady]
    path, original = tmp_path / "t", tmp_path / "original"
    for now in range(0, 600, 10):
        few = int(rng.integers(1, 3000))
        keys = 40_000 if now < 300 else 80_000
        one, *others = [live_on(each, np.random.default_rng(now), now, keys, few) for each in dict.fromkeys(tables)]
        assert all(other == one for other in others)
        if now % 100 == 90:
            tables[now // 100 % 2 + 1].save(path)
            assert path.read_bytes() == bytes_of(steady, tmp_path)
            if rng.random() < 0.5:
                original.unlink(missing_ok=True)
                original.hardlink_to(path)
                saved = original.read_bytes()
                tables = [steady, EmbeddingTable.load(path), EmbeddingTable.load(path, mapped=True)]
        if now == 500:
            assert original.read_bytes() == saved, "a mapped table does not write to its file"
    for table in tables:
        table.check_invariants()
    assert len(steady) > 7 * 1024 * 2, "whole pages of the index were mapped"


@BOTH
def test_an_empty_table_comes_back(tmp_path: Path, mapped: bool) -> None:
    EmbeddingTable(5, "sgd", name="empty").save(tmp_path / "t")
    table = EmbeddingTable.load(tmp_path / "t", mapped=mapped)
    table.check_invariants()
    assert (len(table), table.dim, table.name, table.optimizer.name) == (0, 5, "empty", "sgd")
    assert table.train_rows([3, 1], 0).tolist() == [0, 1]


@BOTH
@pytest.mark.parametrize("name", ["", "Größe 🦉", 'a"}\\\n\0', "0" * 32, "x" * 10_000])
def test_any_name_comes_back(tmp_path: Path, name: str, mapped: bool) -> None:
    table = trained(name=name)
    table.save(tmp_path / "Größe 🦉")
    loaded = EmbeddingTable.load(tmp_path / "Größe 🦉", mapped=mapped)
    assert loaded.name == name
    np.testing.assert_array_equal(loaded.lookup(np.arange(300)), table.lookup(np.arange(300)))


def test_settings_come_back(tmp_path: Path) -> None:
    optimizer = Adagrad(lr=0.1, initial_accumulator_value=float(np.float32(0.3)))
    of_numpy: dict[str, Any] = {"ttl_ms": np.int64(7), "init_scale": np.float32(0.1)}
    table = EmbeddingTable(3, optimizer, after(3, 100), name="t", seed=-(2**70), **of_numpy)
    table.save(tmp_path / "t")
    loaded = EmbeddingTable.load(tmp_path / "t")
    assert (loaded.optimizer, loaded.admission) == (optimizer, after(3, 100))
    assert (loaded.dim, loaded.ttl_ms, loaded.init_scale, loaded.seed) == (3, 7, float(np.float32(0.1)), -(2**70))
    assert bytes_of(loaded, tmp_path) == (tmp_path / "t").read_bytes()


def test_the_file_is_safetensors_and_its_arrays_lie_where_they_can_be_mapped(path: Path) -> None:
    table = EmbeddingTable.load(path)
    arrays = load_file(path)
    keys, rows = table.keys(), table._store.live_rows()
    np.testing.assert_array_equal(arrays["meta"][rows, 0], keys)
    np.testing.assert_array_equal(arrays["data"][rows, :4], table.lookup(keys))
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["version"] == "2"
    content = path.read_bytes()
    assert 8 + int.from_bytes(content[:8], "little") == HEADER
    offsets = [entry["data_offsets"][0] for name, entry in header_of(content).items() if name in arrays]
    assert sum(start % 64 == 0 for start in offsets) == sum("gap" not in name for name in arrays)


def test_a_mapped_table_counts_its_file(path: Path) -> None:
    mapped, copied = EmbeddingTable.load(path, mapped=True), EmbeddingTable.load(path)
    assert copied.nbytes >= mapped.nbytes > path.stat().st_size / 2


# --- what is refused


def test_a_torn_file_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    entries = [entry for name, entry in header_of(whole).items() if name != "__metadata__"]
    borders = sorted({HEADER + at for entry in entries for at in entry["data_offsets"]})
    cuts = {0, 1, 7, 8, 9, 300, HEADER - 1, *(cut + off for cut in borders for off in (-1, 0, 1))} - {len(whole)}
    for cut in sorted(cuts):
        with changed(path, (whole + b"!")[:cut]), pytest.raises(TableFileError, match=r"item.table is torn"):
            EmbeddingTable.load(path)
    EmbeddingTable.load(path)


def test_every_flipped_byte_is_found(path: Path) -> None:
    whole = path.read_bytes()
    places = [*range(HEADER), *range(HEADER, len(whole), 97), len(whole) - 1]
    with path.open("r+b", buffering=0) as file:
        for place in places:
            os.pwrite(file.fileno(), bytes([whole[place] ^ 1 << place % 8]), place)
            with pytest.raises(TableFileError, match=r"torn|does not match its checksum|no embedding table|version"):
                EmbeddingTable.load(path)
            os.pwrite(file.fileno(), whole[place : place + 1], place)
    EmbeddingTable.load(path)


@BOTH
def test_a_damaged_file_says_so(path: Path, mapped: bool) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(TableFileError, match=r"item.table does not match its checksum: it was damaged"):
        EmbeddingTable.load(path, mapped=mapped)


@pytest.mark.parametrize("version", ["1", "99"])
def test_another_version_is_refused(path: Path, version: str) -> None:
    content = path.read_bytes()
    header = header_of(content)
    header["__metadata__"]["version"] = version
    header["rows"] = {"dtype": "F8_E5M2", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[HEADER:])
    with pytest.raises(TableFileError, match=f"version {version}, this release reads 2; load it with the release that"):
        EmbeddingTable.load(path)


def test_other_files_are_refused(path: Path) -> None:
    save_file({"x": np.zeros(3, np.float16)}, path, metadata={"format": "pt"})
    with pytest.raises(TableFileError, match=r'no embedding table but {"format": "pt"}'):
        EmbeddingTable.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(TableFileError, match=r"no embedding table but {}"):
        EmbeddingTable.load(path)
    deep = b"[" * 200_000
    others = [
        b"\0" * 8,
        b"\1" + b"\0" * 7 + b"{",
        json.dumps({"a": 1}).encode(),
        os.urandom(10_000),
        b"\xff" * 100,
        len(deep).to_bytes(8, "little") + deep,
        b"\2" + b"\0" * 7 + b"[]",
        b"\4" + b"\0" * 7 + b'"\xff\xfe"',
    ]
    for content in others:
        path.write_bytes(content)
        with pytest.raises(TableFileError, match="torn or no safetensors file"):
            EmbeddingTable.load(path)
    path.write_bytes((1 << 34).to_bytes(8, "little"))
    os.truncate(path, 1 << 35)
    with pytest.raises(TableFileError, match="torn or no safetensors file: its header does not fit"):
        EmbeddingTable.load(path)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no table file: .*absent"):
        EmbeddingTable.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        EmbeddingTable.load(tmp_path)


@BOTH
def test_another_dim_is_refused(path: Path, mapped: bool) -> None:
    with pytest.raises(TableFileError, match=r"item.table has table 'item' with dim 4, not 8"):
        EmbeddingTable.load(path, dim=8, mapped=mapped)


def forged(path: Path, settings: dict[str, Any], arrays: dict[str, NDArray[Any] | None]) -> None:
    """Write the file anew with a right checksum and other settings and arrays; None leaves an array out."""
    contents = file.read(path)
    text = json.dumps(json.loads(contents.settings) | settings)
    copies = {name: array.copy() for name, array in contents.arrays.items()} | arrays
    file.write(path, text, [file.section(name, array) for name, array in copies.items() if array is not None])


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"dim": 5}, r"'data' is float32\[\d+, 13\], must be float32\[\d+, 16\]"),
    ({"dim": 0}, "dim is 0"),
    ({"dim": "4"}, "settings are no table's: .*dim"),
    ({"optimizer": "adagrad"}, "optimizer 'adagrad' with"),
    ({"optimizer": "sgd", "optimizer_settings": {"lr": 0.1}}, r"must be float32\[\d+, 4\]"),
    ({"optimizer": "lion"}, "optimizer 'lion' with"),
    ({"optimizer_settings": {"lr": -1.0}}, "adam: lr is -1.0"),
    ({"ttl_ms": -1}, "ttl_ms is -1"),
    ({"admission": {"admission": "after"}}, "lacks 'k'"),
    ({"admission": {"admission": "after", "k": 2, "window": 1000}}, "'sketch' is"),
    ({"admission": {"admission": "never"}}, "admission 'never' is unknown"),
    ({"more": 1}, "unknown field `more`"),
]
HEADS = [
    (scalars.TOP, 10**6, r"'meta' is int64\[\d+, 2\], must be"),
    (scalars.TOP, -1, "rows: -1, must be"),
    (scalars.LIVE, -1, "rows with a key: -1"),
    (scalars.FREE_ROW, 10**6, "first free row: 1000000"),
    (scalars.CURSOR, -5, "row to go on evicting at: -5"),
    (scalars.TOUCHED, 10**6, "touched rows"),
    (scalars.NEW_LINES, 10**9, "lines of the index: 1000000000"),
    (scalars.LAST_LINE, 3, r"'index' is uint8\[\d+, 64\], must be uint8\[4, 64\]"),
    (scalars.LAST_LINE, -1, "last line of the index: -1"),
    (scalars.FRONTIER, -1, "hash up to which"),
    (scalars.OLD_LINES, 10**6, "old lines"),
]
ARRAYS: list[tuple[str, Callable[[NDArray[Any]], NDArray[Any]], str]] = [
    ("head", lambda one: one[:-1], r"'head' is int64\[23\], must be int64\[24\]"),
    ("meta", lambda one: one[:-1], "'meta' is"),
    ("data", lambda one: one.view(np.uint8), "'data' is uint8"),
    ("bits", lambda one: one[:-1], "'bits' is"),
    ("default", lambda one: one[:4], "'default' is"),
    ("tombstones", lambda one: one.reshape(-1, 1), r"'tombstones' is int64\[\d+, 1\], must be int64\['any'\]"),
]


@BOTH
def test_what_cannot_be_is_refused_though_its_checksum_is_right(path: Path, mapped: bool) -> None:
    def rejected_gradients(why: str, settings: dict[str, Any], arrays: dict[str, NDArray[Any] | None]) -> None:
        with changed(path, path.read_bytes()):
            forged(path, settings, arrays)
            with pytest.raises(TableFileError, match=f"item.table holds no table that can be: .*{why}"):
                EmbeddingTable.load(path, mapped=mapped)

    whole = {name: array.copy() for name, array in file.read(path).arrays.items()}
    for change, why in SETTINGS:
        rejected_gradients(why, change, {})
    for place, value, why in HEADS:
        head = whole["head"].copy()
        head[place] = value
        rejected_gradients(why, {}, {"head": head})
    for name, made, why in ARRAYS:
        rejected_gradients(why, {}, {name: made(whole[name])})
        rejected_gradients(f"'{name}' is missing", {}, {name: None})
    forged(path, {}, {})
    EmbeddingTable.load(path, mapped=mapped).check_invariants()


@BOTH
def test_a_file_whose_index_ends_with_its_last_used_line_goes_on(path: Path, mapped: bool) -> None:
    """As releases wrote it that knew the last used line: what comes to later lines must be in the next file."""
    EmbeddingTable(4, name="item").save(path)
    whole = {name: array.copy() for name, array in file.read(path).arrays.items()}
    whole["head"][scalars.LAST_LINE] = 0
    forged(path, {}, {"head": whole["head"], "index": whole["index"][:1]})
    table = EmbeddingTable.load(path, mapped=mapped)
    rows = table.train_rows(np.arange(100), 0)
    table.save(path)
    again = EmbeddingTable.load(path, mapped=mapped)
    again.check_invariants()
    assert (again.train_rows(np.arange(100), 1) == rows).all()
    assert len(again) == 100


@BOTH
def test_growth_is_of_the_keys_and_not_of_the_memory_that_is_there(path: Path, mapped: bool) -> None:
    """A large batch leaves more memory than a loaded table has, amid growth: both go on to the same file."""
    table = EmbeddingTable(1, "sgd", name="t")
    table.train_rows(np.arange(47_656), 0)
    table.train_rows(np.concatenate([np.arange(47_656, 65_536), np.arange(12_000)]), 1)
    table.save(path)
    assert 0 < table._store.head[scalars.FRONTIER] < scalars.WHOLE
    for keys in (np.arange(100), np.arange(10**6, 10**6 + 3000), np.arange(10**7, 10**7 + 20_000)):
        loaded = EmbeddingTable.load(path, mapped=mapped)
        for one in (table, loaded):
            one.train_rows(keys, 2)
        assert bytes_of(loaded, path.parent) == bytes_of(table, path.parent)
        table.save(path)


@BOTH
def test_a_table_that_expected_more_keys_comes_back(path: Path, mapped: bool) -> None:
    table = EmbeddingTable(4, name="item")
    table.train_rows(np.arange(100_000) % 1000, 0)
    table.save(path)
    again = EmbeddingTable.load(path, mapped=mapped)
    again.check_invariants()
    assert (again.lookup([7]) == table.lookup([7])).all()


# --- saves that fail


def test_a_failing_disk_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    table = EmbeddingTable.load(path)
    table.train_rows([12345, 12345], 900)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"the table could not be saved: Input/output error: .*item.table") as caught:
        table.save(path)
    assert caught.value.errno == 5
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["item.table"]


def test_a_path_that_cannot_be_written_is_told(path: Path) -> None:
    table = EmbeddingTable.load(path)
    for target in (path.parent / "absent" / "t", path / "t", path.parent, Path("/proc/t")):
        with pytest.raises(OSError, match="the table could not be saved: ") as caught:
            table.save(target)
        assert caught.value.filename == str(target)
    assert [each.name for each in path.parent.iterdir()] == ["item.table"]


def test_what_a_killed_save_left_is_in_nobodys_way(path: Path) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(b"half" * 100_000)
    EmbeddingTable.load(path).save(path)
    assert not draft.exists()
    EmbeddingTable.load(path)


def test_a_full_disk_keeps_the_old_file(on_small_disk: OnSmallDisk) -> None:
    printed = on_small_disk(HERE / "table_until_full.py", 2_000_000)
    assert "the table could not be saved: " in printed
    assert printed.endswith("kept\n")


def printed_by(script: str, *arguments: str) -> str:
    env = os.environ | {"PYTHONPATH": str(HERE.parents[2])}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kill_dash_nine_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    told = printed_by("table_until_killed.py", str(tmp_path), "1")
    assert "old" in told
    assert "new" in told
    assert "drafts left" in told


@pytest.mark.skipif(sys.platform != "linux", reason="its limits of memory are Linux's")
def test_saving_and_loading_take_little_memory_and_too_little_is_told(tmp_path: Path) -> None:
    told = printed_by("table_in_little_memory.py", str(tmp_path))
    assert told.splitlines() == ["saved", "loaded", "mapped", "told that it cannot be loaded", "full", "goes on"]
