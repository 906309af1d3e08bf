"""Where compiled kernels are kept between runs.

Numba checks a cached kernel against its own source file alone, not against the files of the kernels that it inlines: a
changed callee would be run in its old form. And where the class of an argument was renamed, Numba cannot read the
cache at all (findings/numba-cache-renamed-tuple.sh). The cache is therefore one folder for each state of all sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from platformdirs import user_cache_path

_VARIABLE = "NUMBA_CACHE_DIR"
_PREFIX = "kernels-"
_KEPT = 4
"""Folders that stay: this release's, and some of those that other checkouts on the machine use."""


def use_kernel_cache() -> None:
    """Point Numba to the cache of these sources, in the folder that `NUMBA_CACHE_DIR` names or else in the user's.

    Takes effect only before Numba is imported. Where no cache folder can be made, Numba finds a place of its own.
    """
    given = os.environ.get(_VARIABLE)
    # Empty means unset, as in most programs: as a path it would be the working directory.
    root = Path(given) if given else user_cache_path("stream-reco")
    if root.name.startswith(_PREFIX):
        root = root.parent  # set by a process that started this one
    folder = root / (_PREFIX + _digest(Path(__file__).parent))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _drop_oldest(root)
    except OSError:
        return
    os.environ[_VARIABLE] = str(folder)


def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"njit" in source:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def _drop_oldest(root: Path) -> None:
    folders = sorted(root.glob(f"{_PREFIX}*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
