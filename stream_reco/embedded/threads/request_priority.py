"""Requests and batches of events go before the thread that learns: they share one interpreter lock.

Only the learning thread can wait, and only between two events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class RequestPriority:
    """Lets a background thread pause while requests are served or batches are taken, for a bounded time."""

    def __init__(self, most_seconds: float = 0.004) -> None:
        """`most_seconds`: the longest pause for one of them; about as long as a request or a batch takes."""
        self._most_seconds = most_seconds
        self._requests, self._batches = 0, 0
        self._idle, self._taken = threading.Event(), threading.Event()
        self._batch_until = 0.0
        """Until when (monotonic seconds) there is a pause for the batches that are being taken."""
        self._lock = threading.Lock()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Mark a request while it is served."""
        with self._lock:
            self._requests += 1
            self._idle.clear()
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
                if not self._requests:
                    self._idle.set()

    @contextmanager
    def taking_batch(self) -> Iterator[None]:
        """Mark the work on a batch of events.

        The pause ends `most_seconds` after it has begun, however slow the disk is. To learn from a batch takes
        tens of times that: it is hardly delayed.
        """
        with self._lock:
            self._batches += 1
            self._batch_until = time.monotonic() + self._most_seconds
            self._taken.clear()
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
                if not self._batches:
                    self._taken.set()

    def yield_to_requests(self) -> None:
        """Wait until no request is served and no batch taken, for a bounded time: a busy server goes on learning."""
        if self._requests:
            self._idle.wait(self._most_seconds)
        if self._batches and (left := self._batch_until - time.monotonic()) > 0:
            self._taken.wait(left)
