"""The command line as a process: signals during the imports, and the exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from functools import partial

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SERVICES = frozenset({"serve", "work"})
"""Commands that run until they are stopped, so that a signal is no failure. They install their own handlers once there
is something to shut down."""


def main() -> None:
    """Run the command line; its imports come after the signal handlers."""
    is_service = not _SERVICES.isdisjoint(sys.argv[1:2])
    # An ignored signal stays ignored: shells ignore SIGINT for processes in the background.
    before = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, partial(_leave, is_service))
    from stream_reco.cli.app import main as commands

    if not is_service:
        for number, handler in before.items():
            signal.signal(number, handler)
    commands()


def _leave(is_service: bool, number: int, _: object) -> None:
    """Exit at once and silently: nothing has started yet."""
    os._exit(0 if is_service else 128 + number)


def run() -> None:
    """Run the command line and exit the process.

    Commands close what they opened before they return. Threads that are still running then, such as one that compiles
    kernels, are in native code that cannot be interrupted; Python would wait for them, or unwind them through C++
    frames, which aborts the process with signal 6 after a successful run.
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
        # The reader of the output may have closed it.
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                continue
    os._exit(end.code or 0)
