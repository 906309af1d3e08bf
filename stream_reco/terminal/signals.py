"""Graceful shutdown of long-running commands, on Ctrl-C and SIGTERM alike."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status of a command that was stopped before it had a result: that of shells for SIGINT."""


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set the event on the first SIGINT or SIGTERM; the second one raises KeyboardInterrupt."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
