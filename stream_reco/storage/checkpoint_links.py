"""Two checkpoints in a row that share no file, though both take files by hard links.

A store's immutable files are linked into a checkpoint. If the next checkpoint linked them too, one bad sector would
damage both. So it gets other files with the same content: those of the checkpoint before the previous one, which was
made in the same way, or copies. In a row of checkpoints each file is copied once, however long it lives.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import xxhash

FileId = tuple[int, int]
"""Device and inode: what two names of one file have in common."""
Digests = dict[FileId, str]
"""Checksums that manifests recorded, hexadecimal XXH3-128."""
_BLOCK = 1 << 20


def separate(folder: Path, previous: Path | None, older: Sequence[Path], known: Digests) -> None:
    """Replace every file in `folder` that is also one of `previous` by another one with the same content.

    older: the same folder of other checkpoints, newest first; known: what their manifests say of the files. Raises
    OSError.
    """
    taken = _ids(previous) if previous is not None else set()
    for file in sorted(folder.iterdir()):
        if (original := file_id(file)) in taken:
            twin = next((path for path in _namesakes(file, older) if _is_twin(path, original, taken, known)), None)
            replacement = file.with_name(f"{file.name}.new")
            if twin is None or not linked(twin, replacement):
                shutil.copyfile(file, replacement)
            replacement.replace(file)


def linked(file: Path, link: Path) -> bool:
    """Hard-link a file that is never changed; False where the file system cannot."""
    try:
        os.link(file, link)
    except OSError:
        return False
    return True


def file_id(path: Path) -> FileId:
    found = path.stat()
    return found.st_dev, found.st_ino


def digest_of(path: Path) -> str:
    """Hexadecimal XXH3-128 of what is in a file now."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _ids(folder: Path) -> set[FileId]:
    return {file_id(file) for file in folder.iterdir()} if folder.is_dir() else set()


def _namesakes(file: Path, older: Sequence[Path]) -> list[Path]:
    return [path for folder in older if (path := folder / file.name).is_file()]


def _is_twin(path: Path, original: FileId, taken: set[FileId], known: Digests) -> bool:
    """Whether another file has, now, the content that the original had when its checkpoint was written."""
    return file_id(path) not in taken and original in known and digest_of(path) == known[original]
