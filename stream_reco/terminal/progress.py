"""How far a run is, for who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import typer

from stream_reco.terminal.printing import say
from stream_reco.terminal.signals import INTERRUPTED

_LINE_SECONDS = 5.0


def progress_lines(stop: threading.Event, total: int, what: str) -> Callable[[int], None]:
    """A function of how much is done that prints it, of `total` of `what`, at most every five seconds.

    It raises typer.Exit with INTERRUPTED once `stop` is set.
    """
    shown = time.monotonic()

    def watch(done: int) -> None:
        nonlocal shown
        if stop.is_set():
            raise typer.Exit(INTERRUPTED)
        if time.monotonic() - shown >= _LINE_SECONDS:
            shown = time.monotonic()
            say(f"{done:,}/{total:,} {what}")

    return watch
