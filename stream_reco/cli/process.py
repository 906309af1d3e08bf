"""The command line as a process of its own, from its first import to its exit status."""

from __future__ import annotations

import logging
import os
import sys
import threading

from stream_reco.cli.app import main


def run() -> None:
    """Run the command line and end the process.

    Commands close what they opened before they return. Threads that may be left then, such as one that compiles
    kernels, are inside native code that cannot be interrupted; Python would unwind them through C++ frames, which
    aborts the process with signal 6 after all has gone well.
    """
    try:
        main()
    except SystemExit as end:
        _leave_if_threads_are_left(end)
        raise


def _leave_if_threads_are_left(end: SystemExit) -> None:
    if not any(thread.daemon for thread in threading.enumerate()) or isinstance(end.code, str):
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
