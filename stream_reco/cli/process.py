"""The command line as a process of its own, from its first import to its exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from functools import partial

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SERVICES = frozenset({"serve", "work"})
"""Commands that run until they are stopped, so that being stopped is no failure. They see to signals themselves once
they have begun something that has to be ended."""


def main() -> None:
    """Run the command line; all that it needs is imported here."""
    is_service = not _SERVICES.isdisjoint(sys.argv[1:2])
    # Whoever told us to ignore a signal, as a shell does for what runs in the background, is obeyed.
    before = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, partial(_leave, is_service))
    from stream_reco.cli.app import main as commands

    if not is_service:
        for number, handler in before.items():
            signal.signal(number, handler)
    commands()


def _leave(is_service: bool, number: int, _: object) -> None:
    """End at once and without a word: nothing has begun."""
    os._exit(0 if is_service else 128 + number)


def run() -> None:
    """Run the command line and end the process.

    Commands close what they opened before they return. Threads that may be left then, such as one that compiles
    kernels, are inside native code that cannot be interrupted; Python would wait for them, or unwind them through C++
    frames, which aborts the process with signal 6 after all has gone well.
    """
    try:
        main()
    except SystemExit as end:
        _leave_if_threads_are_left(end)
        raise


def _leave_if_threads_are_left(end: SystemExit) -> None:
    if threading.active_count() == 1 or isinstance(end.code, str):
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Whoever read our output may be gone.
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                continue
    os._exit(end.code or 0)
