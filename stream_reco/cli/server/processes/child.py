"""One process of a server as its parent sees it: forked, told to stop, heard when it is ready or cannot be.

Both ends of a pair of sockets say who is there: a process whose parent has ended, in whatever way, finds its end
closed and stops.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import msgspec

_LOGGER = logging.getLogger(__name__)
_FORK = multiprocessing.get_context("fork")
_REPORT_BYTES = 65_536
_POLL_SECONDS = 0.05


class Report(msgspec.Struct, frozen=True):
    """What a process says of itself: that it is ready, or why it cannot be."""

    problem: str | None = None


class Lifeline:
    """The end of a process: whether it is to stop, and what it reports."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.stop = threading.Event()
        """Set when the parent says so, or has ended."""
        threading.Thread(target=self._wait, name="lifeline", daemon=True).start()

    def _wait(self) -> None:
        with suppress(OSError):
            self._end.recv(1)
        self.stop.set()

    def report_when_done(self, opened: Future[Any]) -> BaseException | None:
        """Wait until it is done or the process is to stop; say how it went, and return what it failed with."""
        while not opened.done():
            if self.stop.wait(_POLL_SECONDS):
                return None
        error = opened.exception()
        self.report(Report(None if error is None else str(error) or repr(error)))
        return error

    def report(self, report: Report) -> None:
        """Say it to the parent, if it is still there."""
        with suppress(OSError):
            self._end.sendall(msgspec.json.encode(report) + b"\n")


@dataclass(eq=False)
class Child:
    """A running process, and the parent's end of its lifeline."""

    name: str
    process: BaseProcess
    end: socket.socket
    reports: bytes = b""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid or 0

    def heard(self) -> Report | None:
        """What it has reported since the last time, if anything."""
        with suppress(BlockingIOError, ConnectionError):
            self.reports += self.end.recv(_REPORT_BYTES)
        line, found, rest = self.reports.partition(b"\n")
        if not found:
            return None
        self.reports = rest
        return msgspec.json.decode(line, type=Report)

    def tell_to_stop(self) -> None:
        """Return at once; it ends when it has finished what it is at."""
        with suppress(OSError):
            self.end.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Forget a process that has ended."""
        self.end.close()
        self.process.close()


def start(name: str, run: Callable[[Lifeline], None], siblings: list[Child]) -> Child:
    """Fork a process that runs `run`; the parent must have no other threads."""
    ours, theirs = socket.socketpair()
    inherited = [ours, *(one.end for one in siblings)]
    process = _FORK.Process(target=_run, args=(run, theirs, inherited), name=name)
    process.start()
    theirs.close()
    ours.setblocking(False)
    return Child(name, process, ours)


def _run(run: Callable[[Lifeline], None], end: socket.socket, inherited: list[socket.socket]) -> None:
    # The parent's ends must close when the parent ends, and be open nowhere else.
    for one in inherited:
        one.close()
    lifeline = Lifeline(end)
    # Ctrl-C reaches all processes of a terminal; the parent tells each when it is its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: lifeline.stop.set())
    with _exit_at_the_end():
        run(lifeline)


@contextmanager
def _exit_at_the_end() -> Iterator[None]:
    """Leave without waiting for threads: what is to be closed was closed, and native code cannot be interrupted."""
    status = 1
    try:
        yield
        status = 0
    except Exception:
        _LOGGER.exception("a process of the server has failed")
    finally:
        logging.shutdown()
        os._exit(status)
