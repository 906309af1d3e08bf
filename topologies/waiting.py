"""Waiting that an event ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return


async def is_done_before(ending: asyncio.Event, work: Coroutine[object, object, object]) -> bool:
    """Whether the work was done before `ending` was set; raises what it raises. Then it is cancelled."""
    tasks = [asyncio.create_task(work), asyncio.create_task(ending.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    done = tasks[0].done()
    for task in tasks:
        task.cancel()
    if done:
        tasks[0].result()
    return done
