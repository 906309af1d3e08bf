"""Requests go before the thread that learns: they share one interpreter lock, and only the learning thread can wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class RequestPriority:
    """Lets a background thread pause while requests are served, for a bounded time."""

    def __init__(self, most_seconds: float = 0.004) -> None:
        """`most_seconds`: the longest pause of one `yield_to_requests`; about as long as a request takes."""
        self._most_seconds = most_seconds
        self._requests = 0
        self._idle = threading.Event()
        self._idle.set()
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

    def yield_to_requests(self) -> None:
        """Wait until no request is served, for `most_seconds` at most, so that a busy server goes on learning."""
        if self._requests:
            self._idle.wait(self._most_seconds)
