"""A Faust app that hosts one service: its life cycle is Faust's, its clients of Kafka are its own.

Agents and tables take a tenth of the records that `getmany` takes, and tables are not crash-consistent, so the app has
none, and neither consumer, producer nor web server of Faust's is started.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import faust
from faust.app.base import BootStrategy
from mode import Service

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Works until the event is set."""


class _OwnClients(BootStrategy):  # type: ignore[misc] # Faust has no types
    enable_kafka = False
    enable_web = False


class _Host(faust.App):  # type: ignore[misc]
    BootStrategy = _OwnClients

    def _create_directories(self) -> None:
        """There are no tables, so no folders are made for them."""


class _Hosted(Service):
    """Runs `work`, and lets it end by itself."""

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


def host(name: str, bootstrap: str, work: Work) -> None:
    """Run `work` under a Faust app called `name` until SIGINT or SIGTERM. Raises what `work` raises."""
    asyncio.run(_host(name, bootstrap, work))


async def _host(name: str, bootstrap: str, work: Work) -> None:
    app = _Host(name, broker=f"kafka://{bootstrap.replace(',', ';kafka://')}", web_enabled=False, autodiscover=False)
    hosted = _Hosted(work)
    await app.add_runtime_dependency(hosted)
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await app.start()
    try:
        assert hosted.done is not None
        await asyncio.wait([hosted.done, asyncio.create_task(asked.wait())], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await app.stop()
    hosted.done.result()
