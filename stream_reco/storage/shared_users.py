"""Bytes by user id that one process writes and others on the same machine read at once: LMDB, without waiting.

A reader sees a transaction of the writer whole or not at all, without a lock, in some µs. The writer begins a file with
all users (`begin_all`, `put_many`, `end_all`), to which a link then points, and changes that file from then on; readers
go over to a new file at their next look. So a file that is there is complete, one that a killed writer left unfinished
is not read, and what was deleted long ago is not in the next one either.

Nothing is flushed to the disk: killed processes leave a file as it was after a transaction, a power cut does not. So
files are named by the start of the machine, and those of an earlier one are not opened.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import lmdb

from stream_reco.events import Id

FIRST_BYTES = 1 << 30
"""Address space of a file, not its size on disk; it is doubled whenever it does not suffice."""
_LINK = "users"
_LOCK = "-lock"
"""What LMDB puts behind the name of a file for that of its locks."""
_MOST_DOUBLINGS = 48
"""From a page to all address space that there is."""
_MOST_LOOKS = 8
"""While one opens the file that the link points to, the writer may replace that, or make it larger."""
_MOST_READERS = 1024
"""Threads that may read at the same moment."""
_LOCK_BYTES = _MOST_READERS * 64 + 4096
"""Of the file of locks, a cache line a reader: taken at once, for LMDB writes it as memory, and where the disk has no
place for a page of that the process would end with SIGBUS."""
_LONGEST_KEY = 500
"""LMDB takes keys of at most 511 bytes."""
_CHECK_EVERY = 1000
"""Transactions after which readers are looked for that were killed while they read: until then no page that they might
have read is used again, and a file grows by some 20 kB a transaction."""
_NOTE = b"\x00"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class SharedUsersError(OSError):
    """There are no users to read (yet), or they cannot be written; the text says why and what to do."""


class SharedUser(NamedTuple):
    """A user's state, None for an unknown user."""

    state: bytes | None
    complete: bool = True
    """Whether a user without a state is certainly unknown; no file is read that has not all users."""


class SharedUsers:
    """Bytes by user id in a folder; 5 and "5" are different users.

    One process makes one with `writes` and one thread of it writes; in any other process any number of threads read
    through one object without. A process has one object for a folder. After a fork a child may read.
    """

    source = "shared"
    """By this name metrics count what was read here."""

    def __init__(self, folder: str | Path, *, writes: bool, first_bytes: int = FIRST_BYTES) -> None:
        """Opens nothing before it is needed; `first_bytes` of address space, see `FIRST_BYTES`."""
        self.folder = Path(folder)
        self._writes, self._bytes = writes, first_bytes
        self._link = os.fspath(self.folder / _LINK)
        self._lock = threading.Lock()
        """Address space may only grow while no other thread reads; a read takes some µs."""
        self._name = ""
        self._env: lmdb.Environment | None = None
        self._before: tuple[str, lmdb.Environment | None] | None = None
        """What is read until all users are written anew."""
        self._transactions = 0
        _OBJECTS.add(self)

    def get(self, user: Id) -> SharedUser:
        """The state that was written last. Raises SharedUsersError where no file is there that has all users."""
        return SharedUser(self._read(_key(user)))

    def note(self, name: str) -> bytes | None:
        """What `put_many` noted last under a name. Raises as `get` does."""
        return self._read(_NOTE + name.encode())

    @property
    def complete(self) -> bool:
        """Whether there is a file to read; it has all users."""
        return _is_of_this_start(self._target())

    def put_many(self, states: Mapping[Id, bytes | None], notes: Mapping[str, bytes] | None = None) -> None:
        """Write states, delete users without one, and note something of them all, in one transaction.

        Raises SharedUsersError with nothing written, where the disk is full for instance; to repeat it is harmless.
        """
        pairs = [(_key(user), state) for user, state in states.items()]
        pairs += [(_NOTE + name.encode(), said) for name, said in (notes or {}).items()]
        with self._lock, self._failures("written"):
            while True:
                env = self._opened_complete() if self._before is None else self._opened()
                try:
                    with env.begin(write=True) as transaction:
                        for key, state in pairs:
                            if state is None:
                                transaction.delete(key)
                            else:
                                transaction.put(key, state)
                    break
                except lmdb.MapFullError:
                    self._make_room(env)
            self._transactions += 1
            if self._transactions % _CHECK_EVERY == 0:
                env.reader_check()

    def begin_all(self) -> None:
        """Begin a file for all users, to which `put_many` writes from now on; readers keep the one that is there.

        Raises SharedUsersError.
        """
        with self._lock, self._failures("written"):
            self._abandon()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_all_but(self._target())
            self._before = self._name, self._env
            numbers = [int(name.split("-")[2]) for name in self._files()]
            self._name, self._env = f"{_LINK}-{_start_of_machine()}-{max(numbers, default=0) + 1}", None
            self._reserve_locks()
            self._opened()

    def end_all(self) -> None:
        """All users are written: let readers have the file. Raises SharedUsersError."""
        with self._lock, self._failures("written"):
            link = Path(f"{self._link}.new")
            link.unlink(missing_ok=True)
            link.symlink_to(self._name)
            link.replace(self._link)
            before, self._before = self._before, None
            if before is not None and before[1] is not None:
                before[1].close()
            self._remove_all_but(self._name)

    def clear(self) -> None:
        """Remove all users; there is nothing to read until all are written anew."""
        with self._lock:
            self._abandon()
            self._close()
            self._remove_all_but("")

    def close(self) -> None:
        """Close the file; it stays. Any later call opens it again."""
        with self._lock:
            self._abandon()
            self._close()

    @property
    def nbytes(self) -> int:
        """Bytes of the file on disk; 0 where there is none."""
        try:
            return Path(self._link).stat().st_size
        except OSError:
            return 0

    def _read(self, key: bytes) -> bytes | None:
        with self._lock, self._failures("read"):
            env = self._opened_complete()
            for _ in range(_MOST_DOUBLINGS):
                try:
                    with env.begin() as transaction:
                        return transaction.get(key)
                except lmdb.MapResizedError:
                    env.set_mapsize(0)  # as much as the writer has taken by now
            raise lmdb.Error("the file grows faster than it can be read")

    def _opened_complete(self) -> lmdb.Environment:
        """The file that has all users, to which the link points."""
        if self._before is not None:  # this process is writing another
            name, env = self._before
            if env is None:
                raise lmdb.Error("not all users are written yet")
            return env
        if self._writes and self._env is not None:
            return self._env  # nobody else makes the link point elsewhere
        failure: Exception | None = None
        for _ in range(_MOST_LOOKS):
            name = self._target()
            if not _is_of_this_start(name):
                raise lmdb.Error("not all users are written yet")
            if name != self._name:
                self._close()
                self._name = name
            try:
                return self._opened()
            except (lmdb.Error, OSError) as error:
                failure = error
        raise lmdb.Error(str(failure)) from failure

    def _opened(self) -> lmdb.Environment:
        """The file that has the present name."""
        if self._env is None:
            path = self.folder / self._name
            if not self._writes and not path.exists():
                raise FileNotFoundError(path)
            self._env = lmdb.open(
                os.fspath(path),
                map_size=self._bytes,
                subdir=False,
                readonly=not self._writes,
                # A writable map would be faster, and a full disk would end the process with SIGBUS.
                writemap=False,
                sync=False,
                metasync=False,
                mode=0o600,
                readahead=False,
                max_readers=_MOST_READERS,
                max_spare_txns=1,
            )
        return self._env

    def _reserve_locks(self) -> None:
        descriptor = os.open(self.folder / f"{self._name}{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _LOCK_BYTES)
        finally:
            os.close(descriptor)

    def _make_room(self, env: lmdb.Environment) -> None:
        """After a transaction for which the address space was too small."""
        if not env.reader_check():
            self._bytes = 2 * max(self._bytes, env.info()["map_size"])
            env.set_mapsize(self._bytes)

    @contextmanager
    def _failures(self, done: str) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            if done == "written" and self._before is not None:
                self._abandon()
                self._remove_all_but(self._name or self._target())  # on a full disk its place is needed
            elif self._before is None:
                self._close()  # LMDB refuses everything after some failures; the file is as before
            hint = "; if that disk is full, make room" if done == "written" else ""
            raise SharedUsersError(f"the users in {self.folder} cannot be {done}: {error}{hint}") from error

    def _forked(self) -> None:
        """In a child: LMDB's locks are a process's own, and so is what it has open."""
        is_idle = self._lock.acquire(blocking=False)
        self._lock = threading.Lock()
        for env in (self._env, None if self._before is None else self._before[1]):
            if env is not None and is_idle:  # else the parent's other thread is in the midst of it
                env.close()
        self._before, self._env, self._writes = None, None, False

    def _abandon(self) -> None:
        """Forget the file that was begun, if there is one that is not finished."""
        if self._before is not None:
            self._close()
            (self._name, self._env), self._before = self._before, None

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = None

    def _target(self) -> str:
        try:
            return os.readlink(self._link)  # noqa: PTH115 - at each read: a Path takes ten times as long
        except OSError:
            return ""

    def _files(self) -> set[str]:
        """Names of all files with users; each has a second one with the locks beside it."""
        return {path.name.removesuffix(_LOCK) for path in self.folder.glob(f"{_LINK}-*-*")}

    def _remove_all_but(self, name: str) -> None:
        """Readers that still have one open keep it until they close it."""
        if not name:
            Path(self._link).unlink(missing_ok=True)
        for other in self._files() - {name}:
            (self.folder / other).unlink(missing_ok=True)
            (self.folder / f"{other}{_LOCK}").unlink(missing_ok=True)


def _key(user: Id) -> bytes:
    if isinstance(user, int):
        return b"i" + user.to_bytes(8, "big", signed=True)
    text = user.encode()
    if len(text) < _LONGEST_KEY:
        return b"t" + text
    # Two texts of one hash would be one user; nobody has found two of this hash.
    return b"h" + hashlib.sha256(text).digest()


@cache
def _start_of_machine() -> str:
    """A name for the time since the machine was started."""
    try:
        return _BOOT.read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return "unknown"


def _is_of_this_start(name: str) -> bool:
    return name.startswith(f"{_LINK}-{_start_of_machine()}-")


_OBJECTS = WeakSet[SharedUsers]()


def _forget_parents() -> None:
    for users in _OBJECTS:
        users._forked()


os.register_at_fork(after_in_child=_forget_parents)
