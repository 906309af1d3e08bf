"""One process a folder: a lock that the kernel releases when its process ends, however it ends."""

import fcntl
import os
from pathlib import Path


class FolderTakenError(Exception):
    """Another process holds the lock; `holder` is its process id, or "" if unknown."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by {f'process {holder}' if holder else 'another process'}")
        self.holder = holder


class FolderLock:
    """Holds `path` locked until `release`.

    Raises FolderTakenError at once if another process holds it, OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise FolderTakenError(path, holder) from None
        except BaseException:
            self.release()
            raise
        self._write_process_id()

    def release(self) -> None:
        """Release the lock. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_process_id(self) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError:
            # The process id is for people; a full disk must not prevent reading what is in the folder.
            return
