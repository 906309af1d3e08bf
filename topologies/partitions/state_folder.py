"""The state folder of one worker: locked while it runs, and found again when it restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from stream_reco.config.servers import StateSettings
from stream_reco.storage.folder_lock import FolderLock, FolderTakenError


class StateFolderError(Exception):
    """The state folder cannot be used; the text says why and what to do."""


@contextmanager
def state_folder(state: StateSettings, name: str) -> Iterator[Path]:
    """A folder for workers called `name`, locked for this process.

    Where `state.dir` is set, it is the one below it: raises StateFolderError if another process holds it. Otherwise it
    is the first of NAME-0, NAME-1, … that no other worker of this machine holds.
    """
    lock, folder = _named(state, name) if state.dir else _first_free(state.path, name)
    try:
        yield folder
    finally:
        lock.release()


def _named(state: StateSettings, name: str) -> tuple[FolderLock, Path]:
    folder = state.path / name
    try:
        return _locked(folder), folder
    except FolderTakenError as taken:
        raise StateFolderError(
            f"state.dir is {state.dir}, and {taken}: give each worker of one kind a folder of its own"
            " (STREAM_RECO_STATE_DIR), or leave it unset, and each finds one"
        ) from taken
    except OSError as error:
        raise _unusable(folder, error) from error


def _first_free(above: Path, name: str) -> tuple[FolderLock, Path]:
    for number in count():
        folder = above / f"{name}-{number}"
        try:
            return _locked(folder), folder
        except FolderTakenError:
            continue
        except OSError as error:
            raise _unusable(folder, error) from error
    raise AssertionError("there is always another number")


def _locked(folder: Path) -> FolderLock:
    folder.mkdir(parents=True, exist_ok=True)
    return FolderLock(folder / "lock")


def _unusable(folder: Path, error: OSError) -> StateFolderError:
    return StateFolderError(f"the state folder {folder} cannot be used: {error.strerror}; set state.dir to another one")
