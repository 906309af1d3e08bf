"""Those who ask go before the thread that learns: they share one interpreter lock, and only one can wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class RequestPriority:
    """Lets a background thread step aside while somebody asks, for a bounded while."""

    def __init__(self, most_seconds: float = 0.004) -> None:
        self._most_seconds = most_seconds
        self._asking = 0
        self._quiet = threading.Event()
        self._quiet.set()
        self._lock = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Mark a request."""
        with self._lock:
            self._asking += 1
            self._quiet.clear()
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._quiet.set()

    def yield_to_requests(self) -> None:
        """Wait until nobody asks, but no longer than `most_seconds`: no busy server stops learning."""
        if self._asking:
            self._quiet.wait(self._most_seconds)
