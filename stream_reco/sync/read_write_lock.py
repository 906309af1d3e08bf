"""A lock for many short readers and one rare writer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadersWriterLock:
    """Readers share; the writer is alone. A waiting writer goes before new readers: no busy server starves it.

    Reading may be nested in one thread. Writing inside reading would wait for itself and raises RuntimeError.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0
        self._mine = threading.local()

    @property
    def writer_waits(self) -> bool:
        return self._waiting > 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        depth: int = getattr(self._mine, "depth", 0)
        if depth == 0:
            with self._changed:
                while self._writing or self._waiting:
                    self._changed.wait()
                self._readers += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._mine.depth -= 1
        if self._mine.depth:
            return
        with self._changed:
            self._readers -= 1
            if not self._readers:
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        if getattr(self._mine, "depth", 0):
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
