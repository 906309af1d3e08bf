"""Waiting that something ends: an event, a time, or that what was waited for is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

_CANCEL_SECONDS = 2.0
T = TypeVar("T")


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return


async def is_done_before(ending: asyncio.Event, work: Coroutine[object, object, object]) -> bool:
    """Whether the work was done before `ending` was set; raises what it raises. Else it has been cancelled."""

    async def done() -> bool:
        await work
        return True

    return await outcome_before(ending, done()) is not None


async def outcome_before(ending: asyncio.Event, work: Coroutine[object, object, T]) -> T | None:
    """What the work gives, raises what it raises; None if `ending` was set before, and then it has been cancelled."""
    working, told = asyncio.create_task(work), asyncio.create_task(ending.wait())
    try:
        await asyncio.wait([working, told], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        told.cancel()
        await end([working])


async def end(tasks: Iterable[asyncio.Task[T]]) -> None:
    """Cancel what is not done, and again until it is: to be cancelled, some ask brokers that may never answer."""
    late = {task for task in tasks if not task.done()}
    while late:
        for task in late:
            task.cancel()
        _, late = await asyncio.wait(late, timeout=_CANCEL_SECONDS)


async def within(seconds: float, work: Coroutine[object, object, T]) -> T:
    """What the work gives; raises TimeoutError where it takes longer, however long it would take to be cancelled."""
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    finally:
        await end([task])
    if not done:
        raise TimeoutError
    return task.result()


async def uninterrupted(work: Callable[[], object]) -> None:
    """Do blocking work in a thread, to its end also where this is cancelled meanwhile."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    cancelled = False
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            cancelled = True
    working.result()
    if cancelled:
        raise asyncio.CancelledError
