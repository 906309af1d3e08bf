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

    def __init__(self, most_seconds: float = 0.004, batch_seconds: float = 0.008) -> None:
        """The longest pause for one request and for one batch; about as long as they take on a busy machine."""
        self._most_seconds, self._batch_seconds = most_seconds, batch_seconds
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

        Each under way allows a pause of `batch_seconds`, however slow the disk is. To learn from a batch takes tens
        of times that: it is hardly delayed.
        """
        with self._lock:
            self._batches += 1
            now = time.monotonic()
            allowed = max(self._batch_until, now) + self._batch_seconds
            self._batch_until = min(allowed, now + self._batches * self._batch_seconds)
            self._taken.clear()
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
                if not self._batches:
                    self._batch_until = 0.0
                    self._taken.set()

    def yield_to_requests(self) -> None:
        """Wait until no request is served and no batch taken, for a bounded time: a busy server goes on learning.

        Batch after batch it learns from one event in `batch_seconds`, and publishes, until the backlog is full.
        """
        if self._requests:
            self._idle.wait(self._most_seconds)
        if self._batches and (left := self._batch_until - time.monotonic()) > 0:
            self._taken.wait(min(left, self._batch_seconds))
