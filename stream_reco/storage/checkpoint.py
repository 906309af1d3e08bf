"""Checkpoints: the whole state at one log position, on disk in one atomic step.

A checkpoint is a folder with one file a part (safetensors or plain bytes), or a subfolder where the part is a store of
its own, and a manifest with their checksums. It is written under another name, synced, and renamed, so that a reader
sees all of it or nothing. The newest two are kept, in case one is damaged.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as tensors

from stream_reco import metrics

FORMAT = 3
KEPT = 2
Arrays = dict[str, NDArray[Any]]
Part = Arrays | bytes | Callable[[Path], None]
"""Named numeric arrays, bytes that the part's owner can decode, or a function that writes a folder of files."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_PREFIX, _DRAFT, _DAMAGED = "checkpoint-", "draft-", "damaged-"
_BLOCK = 1 << 20
RestoredPart = Arrays | bytes | Path
"""A part as it is read back: a folder is given by its path."""
_Digests = dict[tuple[int, int, int, int], str]
"""By device, inode, size and time of change."""


class CheckpointError(Exception):
    """A checkpoint cannot be written or read; the text says why and what to do."""


class CheckpointVersionError(CheckpointError):
    """The newest checkpoint has another format version."""


class _DamagedError(Exception):
    """This checkpoint is incomplete or does not match its checksums."""


class Written(NamedTuple):
    """A checkpoint on disk; the log is needed from `oldest_position` on, in case this one turns out damaged."""

    path: Path
    position: int
    oldest_position: int


class Restored(NamedTuple):
    """The content of a checkpoint, and why each newer one was skipped."""

    position: int
    parts: dict[str, RestoredPart]
    warnings: tuple[str, ...]


class _File(msgspec.Struct, frozen=True):
    part: str
    file: str
    kind: Literal["arrays", "bytes", "folder"]
    bytes: int
    xxh3_128: str


class _Body(msgspec.Struct, frozen=True):
    position: int
    files: list[_File]


class _Manifest(msgspec.Struct, frozen=True):
    # These three stay in every format, so that damage and another version can be told apart.
    format: int
    xxh3_128: str
    body: msgspec.Raw


def write_checkpoint(folder: str | Path, position: int, parts: Mapping[str, Part]) -> Written:
    """Write `parts` as the state at log position `position`, durably, then delete all but the newest two checkpoints.

    Part names are short lower-case words. Raises CheckpointError (a full disk, say) with the older ones untouched, and
    ValueError for a name or an array that cannot be written.
    """
    folder = Path(folder)
    for name, part in parts.items():
        _check(name, part)
    with metrics.CHECKPOINT_SECONDS.time():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_drafts(folder)
            number = max((_number(path) for path in folder.glob(f"*{_PREFIX}*")), default=0) + 1
            path = folder / f"{_PREFIX}{number:010d}"
            size = _write(folder / f"{_DRAFT}{path.name}", path, position, parts)
            oldest = _keep_newest(folder)
        except (OSError, SafetensorError) as error:
            metrics.CHECKPOINT_FAILURES.labels("write").inc()
            _remove_drafts(folder)
            raise CheckpointError(
                f"checkpoint at position {position} could not be written to {folder}: {error}. Free space there or"
                " choose another folder; the older checkpoints are untouched"
            ) from error
    metrics.CHECKPOINT_BYTES.set(size)
    return Written(path, position, min(oldest, position))


def read_checkpoint(folder: str | Path) -> Restored | None:
    """The newest checkpoint in `folder` that is whole; None if there is none at all.

    A damaged one is renamed to `damaged-…` and passed over, with a warning. Raises CheckpointVersionError if the
    newest whole one has another format version, CheckpointError on a read error or if there are some but none whole.
    """
    warnings: list[str] = []
    for path in _newest_first(Path(folder)):
        try:
            position, parts = _read(path)
            return Restored(position, parts, tuple(warnings))
        except _DamagedError as error:
            metrics.CHECKPOINT_FAILURES.labels("read").inc()
            warnings.append(f"checkpoint {path} is damaged and was passed over: {error}; it is now {_set_aside(path)}")
        except OSError as error:
            metrics.CHECKPOINT_FAILURES.labels("read").inc()
            raise CheckpointError(
                f"checkpoint {path} cannot be read: {error}; check the disk and permissions"
            ) from error
    if warnings or any(Path(folder).glob(f"{_DAMAGED}*")):
        raise CheckpointError(
            f"no checkpoint in {folder} is whole: {'; '.join(warnings) or 'all were set aside before'}. Restore the"
            " folder from a copy, or move it away to start afresh"
        )
    return None


def remove_damaged(folder: str | Path) -> None:
    """Delete the checkpoints that were set aside as damaged: what they hold of deleted users nobody will erase."""
    for path in Path(folder).glob(f"{_DAMAGED}*"):
        shutil.rmtree(path)


def _write(draft: Path, path: Path, position: int, parts: Mapping[str, Part]) -> int:
    draft.mkdir()
    known = _digests_of_newest(path.parent)
    files = [file for name, part in parts.items() for file in _write_part(draft, name, part, known)]
    body = msgspec.json.encode(_Body(position, files))
    manifest = msgspec.json.encode(_Manifest(FORMAT, _manifest_digest(FORMAT, body), msgspec.Raw(body)))
    (draft / "manifest.json").write_bytes(manifest)
    _sync(draft / "manifest.json")
    _sync(draft)
    draft.rename(path)
    _sync(path.parent)
    return sum(file.bytes for file in files) + len(manifest)


def _write_part(draft: Path, name: str, part: Part, known: _Digests) -> list[_File]:
    if callable(part):
        part(draft / name)
        _sync(draft / name)
        return [_written(name, file, "folder", draft, known) for file in sorted((draft / name).iterdir())]
    if isinstance(part, bytes):
        path = draft / f"{name}.bin"
        path.write_bytes(part)
        return [_written(name, path, "bytes", draft, known)]
    path = draft / f"{name}.safetensors"
    # safetensors copies the memory as it is: the array must be contiguous and in native byte order.
    plain = {key: np.asarray(a, dtype=a.dtype.newbyteorder("="), order="C") for key, a in part.items()}
    tensors.save_file(plain, path)
    return [_written(name, path, "arrays", draft, known)]


def _written(part: str, path: Path, kind: Literal["arrays", "bytes", "folder"], draft: Path, known: _Digests) -> _File:
    _sync(path)
    digest = known.get(_identity(path)) or _digest(path)
    return _File(part, path.relative_to(draft).as_posix(), kind, path.stat().st_size, digest)


def _digests_of_newest(folder: Path) -> _Digests:
    """Digests of the large files that the newest checkpoint shares with the next one by hard links."""
    try:
        newest = _newest_first(folder)[0]
        files = _read_manifest(newest).files
        return {_identity(newest / file.file): file.xxh3_128 for file in files if file.kind == "folder"}
    except (IndexError, _DamagedError, CheckpointVersionError, OSError):
        return {}


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> tuple[int, dict[str, RestoredPart]]:
    body = _read_manifest(path)
    parts: dict[str, RestoredPart] = {}
    for file in body.files:
        source = path / file.file
        if not source.is_file() or source.stat().st_size != file.bytes or _digest(source) != file.xxh3_128:
            raise _DamagedError(f"{file.file} is missing, cut short or does not match its checksum")
        if file.kind == "folder":
            parts[file.part] = source.parent
        else:
            parts[file.part] = _load_arrays(source) if file.kind == "arrays" else source.read_bytes()
    return body.position, parts


def _load_arrays(source: Path) -> Arrays:
    try:
        # Older releases of safetensors return read-only arrays.
        return {name: a if a.flags.writeable else a.copy() for name, a in tensors.load_file(source).items()}
    except SafetensorError as error:
        raise _DamagedError(f"{source.name}: {error}") from error


def _read_manifest(path: Path) -> _Body:
    try:
        manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=_Manifest)
    except FileNotFoundError as error:
        raise _DamagedError("it has no manifest") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise _DamagedError(f"its manifest is unreadable ({error})") from error
    if _manifest_digest(manifest.format, bytes(manifest.body)) != manifest.xxh3_128:
        raise _DamagedError("its manifest does not match its checksum")
    if manifest.format != FORMAT:
        raise CheckpointVersionError(
            f"checkpoint {path} has format {manifest.format}, this release reads format {FORMAT}: use the release that"
            " wrote it, or move the folder away to start afresh"
        )
    return msgspec.json.decode(manifest.body, type=_Body)


def _keep_newest(folder: Path) -> int:
    """Remove all but the newest; returns the least log position of those that stay."""
    paths = _newest_first(folder)
    for path in paths[KEPT:]:
        # Renamed first: a half-removed checkpoint must not look like a damaged one.
        shutil.rmtree(path.rename(folder / f"{_DRAFT}{path.name}"), ignore_errors=True)
    positions = []
    for path in paths[:KEPT]:
        try:
            positions.append(_read_manifest(path).position)
        except (_DamagedError, CheckpointVersionError):
            continue
    return min(positions)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"), key=_number, reverse=True)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


def _set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, or the next write would count it as kept and delete an undamaged one."""
    target = path.with_name(f"{_DAMAGED}{path.name}")
    try:
        return path.rename(target)
    except OSError:
        return path


def _remove_drafts(folder: Path) -> None:
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def _check(name: str, part: Part) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"part of a checkpoint is named {name!r}: must be lower-case letters, digits, '_', '.', '-'")
    for key, array in part.items() if isinstance(part, dict) else ():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise ValueError(f"array {key!r} of part {name!r} has dtype {array.dtype}: only bool, integers and floats")


def _manifest_digest(version: int, body: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(f"{version}:".encode() + body)


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
