"""What must be said before numerical libraries and metrics are imported by a process that others are forked from."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream_reco.terminal.errors import Failure

_MOST_WORKERS = 4
"""By default: each takes memory of its own, and one learner rarely gives more to do."""
_PREFIX, _LOCK = "stream-reco-", "lock"
_MEMORY = Path("/dev/shm")
_AMPLE_BYTES = 2 * 2**30
"""Free memory from which on files are shared there: two snapshots of a million described items. Containers often have
64 MB of it."""
_LEAST_BYTES = 64 * 2**20
"""Free room without which nothing is started: a file that is mapped where there is none ends its process."""


def workers_by_default() -> int:
    """One scorer for each processor but the learner's, at most four; none where there is one, or processes that were
    forked may not use the system's libraries.
    """
    if sys.platform != "linux":
        return 0
    return min(len(os.sched_getaffinity(0)) - 1, _MOST_WORKERS)


@contextmanager
def shared_by_processes() -> Iterator[Path]:
    """A folder that only this user can read, for what the processes of a server share while they run.

    It is in memory, or on disk where that is small, and removed at the end; what a killed server left is removed at the
    next start. Metrics are counted in it, and matrix products take no threads, which would not survive a fork; each
    process takes as many as its settings say afterwards. Nothing is changed where both libraries are in use already.

    Raises Failure where there is no room.
    """
    folder, lock = _made(_root())
    _remove_if_stopped(folder)
    if "prometheus_client" not in sys.modules and "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        metrics = folder / "metrics"
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _root() -> Path:
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _AMPLE_BYTES:
        return _MEMORY
    try:
        root = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise Failure(f"{error.strerror or error}; free space in one of them, or set TMPDIR") from error
    free = shutil.disk_usage(root).free
    if free < _LEAST_BYTES:
        least = _LEAST_BYTES // 2**20
        raise Failure(
            f"{root} has {free // 2**20} MB left, and a server needs {least}: free space there, or set TMPDIR"
        )
    return root


def _made(root: Path) -> tuple[Path, int]:
    """A new folder, and a lock that all processes that are forked hold until the last of them has ended."""
    try:
        # Servers that start at the same moment do not take each other's folders for left over.
        turn = os.open(root / f"{_PREFIX}{os.getuid()}", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(turn, fcntl.LOCK_EX)
        _remove_left_over(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(turn)
    except OSError as error:
        raise Failure(f"nothing can be written to {root}: {error.strerror}; free space there, or set TMPDIR") from error
    return folder, lock


def _remove_left_over(root: Path) -> None:
    """Folders of servers that were killed: nobody holds their locks."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _remove_if_stopped(folder: Path) -> None:
    """A signal during the imports ends the process at once; once the server starts it has handlers of its own."""

    def leave(*_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        # An ignored signal stays ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)
