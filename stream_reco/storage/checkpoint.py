"""Checkpoints: the whole state at one log position, on disk in one atomic step.

A checkpoint is a folder with one file a part (safetensors or plain bytes), or a subfolder where the part is a store of
its own, and a manifest with their checksums. It is written under another name, synced, and renamed, so that a reader
sees all of it or nothing. The newest two are kept, in case one is damaged: both are whole, and share no file.
"""

import logging
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
from stream_reco.storage import disk
from stream_reco.storage.checkpoint_links import Digests, digest_of, file_id, separate

_LOGGER = logging.getLogger(__name__)
FORMAT = 3
Arrays = dict[str, NDArray[Any]]
Part = Arrays | bytes | Callable[[Path], None]
"""Named numeric arrays, bytes that the part's owner can decode, or a function that writes a folder of files."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_PREFIX, _DRAFT, _DAMAGED = "checkpoint-", "draft-", "damaged-"
RestoredPart = Arrays | bytes | Path
"""A part as it is read back: a folder is given by its path."""


class CheckpointError(Exception):
    """A checkpoint cannot be written or read; the text says why and what to do."""


class NoWholeCheckpointError(CheckpointError):
    """There are checkpoints, and all are damaged."""


class CheckpointVersionError(CheckpointError):
    """The newest checkpoint has another format version."""


class _DamagedError(Exception):
    """This checkpoint is incomplete or does not match its checksums."""


class Written(NamedTuple):
    """A checkpoint on disk; the log is needed after `oldest_position`, in case this one turns out damaged.

    That is the position of the other one that is kept, and 0 where there is none.
    """

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
    """Write `parts` as the state at log position `position`, durably, then delete those before the previous one.

    The previous one is read first: if it is damaged, it is set aside, and the one before it stays. So is a file that a
    part shares by a hard link: where it is not as an older checkpoint has it, nothing is written.

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
            previous = _newest_whole(folder)
            size = _write(folder / f"{_DRAFT}{path.name}", path, position, parts, previous)
            oldest = _delete_before(previous)
        except (OSError, SafetensorError, _DamagedError) as error:
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
    newest whole one has another format version, NoWholeCheckpointError if there are some but none whole, and
    CheckpointError on a read error.
    """
    warnings: list[str] = []
    for path in _newest_first(Path(folder)):
        try:
            position, parts = _read(path)
            return Restored(position, parts, tuple(warnings))
        except _DamagedError as error:
            warnings.append(_set_aside(path, error))
        except OSError as error:
            metrics.CHECKPOINT_FAILURES.labels("read").inc()
            raise CheckpointError(
                f"checkpoint {path} cannot be read: {error}; check the disk and permissions"
            ) from error
    if warnings or any(Path(folder).glob(f"{_DAMAGED}*")):
        raise NoWholeCheckpointError(
            f"no checkpoint in {folder} is whole: {'; '.join(warnings) or 'all were set aside before'}. Restore the"
            " folder from a copy, or move it away to start afresh, or go on with what the log holds: --accept-loss (in"
            " Python accept_loss=True)."
        )
    return None


def remove_damaged(folder: str | Path) -> None:
    """Delete the checkpoints that were set aside as damaged: what they hold of deleted users nobody will erase."""
    for path in Path(folder).glob(f"{_DAMAGED}*"):
        shutil.rmtree(path)


def newest_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first, whole or not."""
    return _newest_first(folder)


def check_checkpoint(path: Path) -> int:
    """The log position of a checkpoint whose every file matches its checksum. Raises CheckpointError for others."""
    try:
        return _verified(path).position
    except _DamagedError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}; use another one") from error


def _write(draft: Path, path: Path, position: int, parts: Mapping[str, Part], previous: Path | None) -> int:
    draft.mkdir()
    files = [file for name, part in parts.items() for file in _write_part(draft, name, part, previous)]
    body = msgspec.json.encode(_Body(position, files))
    manifest = msgspec.json.encode(_Manifest(FORMAT, _manifest_digest(FORMAT, body), msgspec.Raw(body)))
    (draft / "manifest.json").write_bytes(manifest)
    disk.sync(draft / "manifest.json")
    disk.sync(draft)
    draft.rename(path)
    disk.sync(path.parent)
    return sum(file.bytes for file in files) + len(manifest)


def _write_part(draft: Path, name: str, part: Part, previous: Path | None) -> list[_File]:
    if callable(part):
        part(draft / name)
        return _written_folder(draft, name, previous)
    if isinstance(part, bytes):
        path = draft / f"{name}.bin"
        path.write_bytes(part)
        return [_written(name, path, "bytes", draft)]
    path = draft / f"{name}.safetensors"
    # safetensors copies the memory as it is: the array must be contiguous and in native byte order.
    plain = {key: np.asarray(a, dtype=a.dtype.newbyteorder("="), order="C") for key, a in part.items()}
    tensors.save_file(plain, path)
    return [_written(name, path, "arrays", draft)]


def _written_folder(draft: Path, name: str, previous: Path | None) -> list[_File]:
    """The files of a part; those that it shares by hard links are checked, and made others than the previous one's."""
    known = {file: digest for path in _newest_first(draft.parent) for file, digest in _digests(path, name).items()}
    older = [path / name for path in _newest_first(draft.parent) if path != previous]
    separate(draft / name, None if previous is None else previous / name, older, known)
    disk.sync(draft / name)
    files = []
    for path in sorted((draft / name).iterdir()):
        file = _written(name, path, "folder", draft)
        if known.get(file_id(path), file.xxh3_128) != file.xxh3_128:
            raise _DamagedError(
                f"{name}/{path.name} is damaged on the disk: start again, to go on from a checkpoint that is whole"
            )
        files.append(file)
    return files


def _written(part: str, path: Path, kind: Literal["arrays", "bytes", "folder"], draft: Path) -> _File:
    disk.sync(path)
    return _File(part, path.relative_to(draft).as_posix(), kind, path.stat().st_size, digest_of(path))


def _digests(path: Path, part: str) -> Digests:
    """What the manifest of a checkpoint says about the files of a part that is a folder."""
    try:
        files = [file for file in _read_manifest(path).files if file.part == part]
        return {file_id(path / file.file): file.xxh3_128 for file in files}
    except (_DamagedError, CheckpointVersionError, OSError):
        return {}


def _read(path: Path) -> tuple[int, dict[str, RestoredPart]]:
    body = _verified(path)
    parts: dict[str, RestoredPart] = {}
    for file in body.files:
        source = path / file.file
        if file.kind == "folder":
            parts[file.part] = source.parent
        else:
            parts[file.part] = _load_arrays(source) if file.kind == "arrays" else source.read_bytes()
    return body.position, parts


def _verified(path: Path) -> _Body:
    """The manifest, once every file that it names was read and is as it says."""
    body = _read_manifest(path)
    for file in body.files:
        source = path / file.file
        if not source.is_file() or source.stat().st_size != file.bytes or digest_of(source) != file.xxh3_128:
            raise _DamagedError(f"{file.file} is missing, cut short or does not match its checksum")
    return body


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


def _newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are set aside."""
    for path in _newest_first(folder):
        try:
            _verified(path)
            return path
        except _DamagedError as error:
            _LOGGER.warning("%s", _set_aside(path, error))
        except CheckpointVersionError:
            continue
    return None


def _delete_before(previous: Path | None) -> int:
    """Delete the checkpoints before the one that is kept besides the newest; returns its log position, 0 for none."""
    if previous is None:
        return 0
    for path in _newest_first(previous.parent):
        if _number(path) < _number(previous):
            # Renamed first: a half-removed checkpoint must not look like a damaged one.
            shutil.rmtree(path.rename(path.with_name(f"{_DRAFT}{path.name}")), ignore_errors=True)
    return _read_manifest(previous).position


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"), key=_number, reverse=True)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


def _set_aside(path: Path, damage: _DamagedError) -> str:
    """Rename a damaged checkpoint, or the next write would count it as kept; returns what is to be said about it."""
    metrics.CHECKPOINT_FAILURES.labels("read").inc()
    target = path.with_name(f"{_DAMAGED}{path.name}")
    try:
        path.rename(target)
    except OSError:
        target = path
    return f"checkpoint {path} is damaged and was passed over: {damage}; it is now {target}"


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
