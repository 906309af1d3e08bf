"""A lock for many short readers and one rare writer."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class _Depth(threading.local):
    """How often the present thread is reading, one inside the other."""

    depth = 0


class _Reading:
    def __init__(self, lock: "ReadersWriterLock") -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.enter()

    def __exit__(self, *_: object) -> None:
        self._lock.leave()


class ReadersWriterLock:
    """Readers share; the writer is alone. A waiting writer goes before new readers: no busy server starves it.

    Reading may be nested in one thread. Writing inside reading would wait for itself and raises RuntimeError.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._readers = 0
        self._writing = False
        self._waiting = 0
        self._mine = _Depth()
        self._reading = _Reading(self)

    @property
    def writer_waits(self) -> bool:
        return self._waiting > 0

    def reading(self) -> AbstractContextManager[None]:
        """Held by a reader. It is entered several times in a request, so it is one object that is made once."""
        return self._reading

    def enter(self) -> None:
        """Begin to read; `reading` calls it."""
        depth = self._mine.depth
        if not depth:
            with self._lock:
                while self._writing or self._waiting:
                    self._changed.wait()
                self._readers += 1
        self._mine.depth = depth + 1

    def leave(self) -> None:
        """End to read; `reading` calls it."""
        self._mine.depth = depth = self._mine.depth - 1
        if depth:
            return
        with self._lock:
            self._readers -= 1
            if not self._readers and self._waiting:
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        if self._mine.depth:
            raise RuntimeError("a thread that is reading cannot write: leave `reading()` before polling")
        with self._changed:
            self._waiting += 1
            try:
                while self._writing or self._readers:
                    self._changed.wait()
                self._writing = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
