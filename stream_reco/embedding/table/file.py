"""A table's file: safetensors, written and checked as a stream, so that it takes no memory of the table's size.

The arrays begin at multiples of 64 bytes, the first at a multiple of 4096; arrays named `gap.…` fill up. The header's
metadata hold the table's settings and an xxh3_128 checksum of the whole file, taken with zeros in its own place, which
is the same in every file. The safetensors library writes only arrays that lie in one piece, and does not tell where in
a file an array lies, so the little that is needed of the format is done here.
"""

import errno
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

FORMAT = "stream-reco embedding table"
VERSION = 2
DATA_ALIGNMENT = 4096
ARRAY_ALIGNMENT = 64
_BEFORE_CHECKSUM = '{"__metadata__":{"checksum":"'
_BLANK = "0" * 32
_CHECKSUM = slice(8 + len(_BEFORE_CHECKSUM), 8 + len(_BEFORE_CHECKSUM) + len(_BLANK))
_BLOCK = 1 << 20
_LONGEST_HEADER = 100_000_000
"""That of the safetensors library."""
_GAP = "gap."
_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "I64": np.dtype(np.int64), "F32": np.dtype(np.float32)}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class TableFileError(ValueError):
    """A file that is torn, of another kind, of another version, or of another dim; nothing was loaded from it."""


class Section(NamedTuple):
    """One array of a file, given piece by piece: uint8 arrays that are its bytes one behind the other."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Iterable[NDArray[np.uint8]]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class _Entry(msgspec.Struct, frozen=True):
    dtype: Literal["U8", "I64", "F32"]
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]], msgspec.Meta(max_length=2)]
    data_offsets: tuple[int, int]


class FileContents(NamedTuple):
    """What a file holds. The arrays lie in a mapping of it, which lives as long as any of them."""

    path: Path
    settings: str
    arrays: Mapping[str, NDArray[Any]]

    def array(self, name: str, dtype: type[np.generic], *shape: int | None) -> NDArray[Any]:
        """The array of that name; None in `shape` stands for any length. Raises ValueError for another one or none."""
        array = self.arrays.get(name)
        if array is None:
            raise ValueError(f"array {name!r} is missing")
        lengths = [have if want is None else want for want, have in zip(shape, array.shape, strict=False)]
        if array.dtype != dtype or array.ndim != len(shape) or lengths != list(array.shape):
            wanted = f"{np.dtype(dtype)}{['any' if one is None else one for one in shape]}"
            raise ValueError(f"array {name!r} is {array.dtype}{list(array.shape)}, must be {wanted}")
        return array


def section(name: str, array: NDArray[Any]) -> Section:
    """An array that lies in one piece as a section."""
    return Section(name, array.dtype, array.shape, [array.reshape(-1).view(np.uint8)])


def write(path: Path, settings: str, sections: Iterable[Section]) -> None:
    """Write next to `path`, sync, and move into place: after a crash the old or the new file is there, whole.

    Raises OSError with the reason.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        try:
            _write(draft, settings, list(_aligned(sections)))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, f"the table could not be saved: {error.strerror or error}", str(path)) from error


def _aligned(sections: Iterable[Section]) -> Iterator[Section]:
    at = 0
    for number, each in enumerate(sections):
        gap = -at % ARRAY_ALIGNMENT
        if gap:
            yield section(f"{_GAP}{number}", np.zeros(gap, np.uint8))
        yield each
        at += gap + each.nbytes


def _write(draft: Path, settings: str, sections: list[Section]) -> None:
    header = _header(settings, sections)
    digest = xxhash.xxh3_128(header)
    with draft.open("wb") as file:
        file.write(header)
        for each in sections:
            for block in _blocks(each.pieces):
                digest.update(block)
                file.write(block)
        file.seek(_CHECKSUM.start)
        file.write(digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def _header(settings: str, sections: list[Section]) -> bytes:
    """Its length and the JSON with a blank checksum, filled up with spaces."""
    metadata = {"checksum": _BLANK, "format": FORMAT, "version": str(VERSION), "settings": settings}
    entries: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for each in sections:
        offsets = [at, at + each.nbytes]
        entries[each.name] = {"dtype": _CODES[each.dtype], "shape": each.shape, "data_offsets": offsets}
        at += each.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    length = len(text) + -(8 + len(text)) % DATA_ALIGNMENT
    return length.to_bytes(8, "little") + text.ljust(length)


def _blocks(pieces: Iterable[NDArray[np.uint8]]) -> Iterator[memoryview]:
    """Small enough to stay in the cache between one use and the next."""
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            yield piece[start : start + _BLOCK].data


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, *, private: bool = False) -> FileContents:
    """What a table's file holds, once its checksum is found right. Nothing is copied.

    The arrays are read-only, or with `private` may be written to: the file does not change, nor what others see.
    Raises FileNotFoundError, OSError, MemoryError, or TableFileError with the reason.
    """
    whole = _mapped(path, mmap.ACCESS_COPY if private else mmap.ACCESS_READ)
    length = int.from_bytes(whole[:8].tobytes(), "little")
    if not 8 < 8 + length <= min(len(whole), _LONGEST_HEADER):
        raise _torn(path, f"its header does not fit into its {len(whole)} bytes")
    try:
        header = msgspec.json.decode(whole[8 : 8 + length].tobytes(), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(header.pop("__metadata__", msgspec.Raw(b"{}")), type=dict[str, str])
        _check_kind(path, metadata)
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _torn(path, f"its header is no such JSON: {error}") from error
    arrays = _arrays(path, entries, whole[8 + length :])
    if _checksum(whole, 8 + length) != whole[_CHECKSUM].tobytes():
        raise TableFileError(f"{path} does not match its checksum: it was damaged after writing; use an older one")
    return FileContents(path, metadata.get("settings", ""), arrays)


def _mapped(path: Path, access: int) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise _torn(path, "it is empty")
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no table file", str(path)) from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise


def _torn(path: Path, reason: str) -> TableFileError:
    return TableFileError(f"{path} is torn or no safetensors file: {reason}; use an older one")


def _check_kind(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise TableFileError(f"{path} is no embedding table but {json.dumps(metadata)[:200]}")
    if metadata.get("version") != str(VERSION):
        raise TableFileError(
            f"{path} has table version {metadata.get('version')}, this release reads {VERSION}; "
            "load it with the release that wrote it"
        )


def _arrays(path: Path, entries: dict[str, _Entry], data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, end = entry.data_offsets
        dtype = _DTYPES[entry.dtype]
        if start != at or end - start != prod(entry.shape) * dtype.itemsize:
            raise _torn(path, f"array {name!r} lies at {start} to {end} behind one that ends at {at}")
        if end > len(data):
            raise _torn(path, f"it ends {end - len(data)} bytes before array {name!r} does")
        if not name.startswith(_GAP):
            arrays[name] = data[start:end].view(dtype).reshape(entry.shape)
        at = end
    if at != len(data):
        raise _torn(path, f"it goes on for {len(data) - at} bytes behind its last array")
    return arrays


def _checksum(whole: NDArray[np.uint8], start: int) -> bytes:
    header = bytearray(whole[:start].tobytes())
    header[_CHECKSUM] = _BLANK.encode()
    digest = xxhash.xxh3_128(header)
    for block in _blocks([whole[start:]]):
        digest.update(block)
    return digest.hexdigest().encode()
