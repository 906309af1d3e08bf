"""A Faust app that hosts one service: its life cycle is Faust's, its clients of Kafka are its own.

Agents and tables take a tenth of the records that `getmany` takes, and tables are not crash-consistent, so the app has
none, and neither consumer, producer nor web server of Faust's is started.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import faust
from faust.app.base import BootStrategy
from mode import Service

from topologies.process.heartbeat import Heartbeat

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""A coroutine function that works until the event is set."""
INTERRUPTED = 130
"""Exit status after a second signal: what shells report for SIGINT."""
_SECOND_SIGNAL = b"second signal: exiting now; unfinished work will be reprocessed from Kafka\n"


class _OwnClients(BootStrategy):  # type: ignore[misc] # Faust has no types
    enable_kafka = False
    enable_web = False


class _Host(faust.App):  # type: ignore[misc]
    BootStrategy = _OwnClients

    async def on_start(self) -> None:
        """Without Faust's consumer: even unused it has an event loop for a thread, which nobody would close."""
        self.finalize()

    def _create_directories(self) -> None:
        """There are no tables, so no folders are made for them."""


class _Hosted(Service):
    """Runs `work`, and waits at its stop until the work ends by itself."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work, self._ending = work, asyncio.Event()
        self.done: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        self.done = asyncio.create_task(self._work(self._ending))

    async def on_stop(self) -> None:
        self._ending.set()
        if self.done is not None:
            await asyncio.wait([self.done])


def host(name: str, bootstrap: str, work: Work, heartbeat: Heartbeat) -> None:
    """Run `work` under a Faust app called `name` until SIGINT or SIGTERM. Raises what `work` raises.

    A second signal ends the process at once, with status 130; unfinished work is reprocessed from Kafka.
    """
    try:
        asyncio.run(_host(name, bootstrap, work, heartbeat))
    finally:
        heartbeat.end()


async def _host(name: str, bootstrap: str, work: Work, heartbeat: Heartbeat) -> None:
    heartbeats = asyncio.create_task(heartbeat.beat())
    signalled = asyncio.Event()
    _listen(asyncio.get_running_loop(), signalled)
    app = _Host(name, broker=f"kafka://{bootstrap.replace(',', ';kafka://')}", web_enabled=False, autodiscover=False)
    hosted = _Hosted(work)
    await app.add_runtime_dependency(hosted)
    await app.start()
    try:
        assert hosted.done is not None
        await asyncio.wait([hosted.done, asyncio.create_task(signalled.wait())], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await app.stop()
        heartbeats.cancel()
    hosted.done.result()


def _listen(loop: asyncio.AbstractEventLoop, signalled: asyncio.Event) -> None:
    """Set the event on the first signal, exit on the second, until the process ends.

    A loop's own handlers would be removed with the loop, before the process has closed everything.
    """
    signals = 0

    def handle(_: int, __: object) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os.write(2, _SECOND_SIGNAL)
            os._exit(INTERRUPTED)
        if not loop.is_closed():
            loop.call_soon_threadsafe(signalled.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
