"""How long-running commands end: Ctrl-C and SIGTERM alike, quietly, with status 0."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""The status of a command that was stopped before it had its answer, as shells have it for SIGINT."""


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set the event on the first SIGINT or SIGTERM; a second one interrupts, for those who cannot wait."""
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, signal.default_int_handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
