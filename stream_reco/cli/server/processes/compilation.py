"""Kernels are compiled by a process that ends afterwards, and loaded before others are forked, which share them.

The compiler keeps what it has worked with for as long as its process lives: more than a gigabyte after a first start.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import stream_reco
from stream_reco.cli.server.processes.child import Child, Lifeline, start
from stream_reco.cli.server.replica import prepare
from stream_reco.cli.server.warm_up_content import warm_up_content
from stream_reco.config import Settings
from stream_reco.embedded.warm_up import warm_up
from stream_reco.model.spec import settings_digest

_POLL_SECONDS = 0.05


def load_kernels(settings: Settings) -> None:
    """Have all kernels of a learner and a scorer in this process, compiled or from the cache."""
    warm_up(settings)
    prepare(settings)
    warm_up_content()


def compile_apart(settings: Settings, is_to_stop: Callable[[], bool], siblings: list[Child]) -> None:
    """Return when the kernels are in the cache, or it is to stop.

    The caller has no threads that a fork would miss. Where it fails, kernels are left to those that need them.
    """
    mark = _mark(settings)
    if mark is None or mark.exists():
        return
    child = start("compiler", lambda lifeline: _compile(settings, mark, lifeline), siblings)
    while child.process.is_alive():
        if is_to_stop():
            child.process.kill()  # nothing is lost, and the compiler cannot be interrupted
        child.process.join(_POLL_SECONDS)
    child.release()


def _compile(settings: Settings, mark: Path, lifeline: Lifeline) -> None:
    load_kernels(settings)
    if not lifeline.stop.is_set():
        mark.touch()


def _mark(settings: Settings) -> Path | None:
    """A file that says that all is compiled; None where there is no cache.

    Numba finds a kernel by where its source lies and when it was written, so that another installation of the same
    release finds nothing.
    """
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if not folder:
        return None
    package = Path(stream_reco.__file__).parent
    sources = [(str(path), path.stat().st_mtime_ns) for path in sorted(package.rglob("*.py"))]
    digest = hashlib.sha256(repr((sources, settings_digest(settings.model.build_served()))).encode())
    return Path(folder) / f"complete-{digest.hexdigest()[:16]}"
