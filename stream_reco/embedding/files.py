"""A table's file: safetensors with a version and a checksum in its header, replaced atomically."""

import json
import os
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FORMAT = "stream-reco embedding table"
VERSION = 1

Arrays = dict[str, NDArray[np.generic]]


class TableFileError(ValueError):
    """A file that is torn, of another kind, or of another version; nothing was loaded from it."""


def checksum(parts: Arrays) -> str:
    """xxh3_128 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = xxhash.xxh3_128()
    for name in sorted(parts):
        part = np.ascontiguousarray(parts[name])
        digest.update(f"{name} {part.dtype.str} {part.shape};".encode())
        digest.update(part.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write(path: Path, parts: Arrays) -> None:
    """Write beside `path`, sync, and move into place: after a crash the old or the new file is there, whole."""
    draft = path.with_name(f".{path.name}.draft")
    header = {"format": FORMAT, "version": str(VERSION), "checksum": checksum(parts)}
    try:
        save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, draft, metadata=header)
        sync(draft)
        draft.replace(path)
    except SafetensorError as error:
        raise OSError(f"the table could not be written to {path}: {error}; is the disk full?") from error
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the system put a file's content, or a folder's entries, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Arrays:
    """The arrays of a table's file. Raises FileNotFoundError, or TableFileError with the reason."""
    if not path.exists():
        raise FileNotFoundError(f"there is no table file at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise TableFileError(f"{path} is no embedding table but {json.dumps(header)[:200]}")
            if header.get("version") != str(VERSION):
                raise TableFileError(
                    f"{path} has table version {header.get('version')}, this release reads {VERSION}; "
                    "load it with the release that wrote it"
                )
            parts: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TableFileError(f"{path} is torn or no safetensors file ({error}); use an older checkpoint") from error
    if checksum(parts) != header.get("checksum"):
        raise TableFileError(
            f"{path} does not match its checksum; it was damaged after writing, use an older checkpoint"
        )
    return parts
