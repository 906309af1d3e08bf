"""Waiting for work until it is done, a time has passed or an event is set, and cancelling what is not done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

_CANCEL_SECONDS = 2.0
T = TypeVar("T")


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until the event is set."""
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return


async def is_done_before(ending: asyncio.Event, work: Coroutine[object, object, object]) -> bool:
    """Whether the work was done before `ending` was set, otherwise it was cancelled; raises what it raises."""

    async def done() -> bool:
        await work
        return True

    return await outcome_before(ending, done()) is not None


async def outcome_before(ending: asyncio.Event, work: Coroutine[object, object, T]) -> T | None:
    """What the work returns, or None if `ending` was set before and it was cancelled; raises what it raises."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(ending.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        await end([working])


async def end(tasks: Iterable[asyncio.Task[T]]) -> None:
    """Cancel tasks until they are done: some, as they are cancelled, wait for brokers that may never answer."""
    late = {task for task in tasks if not task.done()}
    while late:
        for task in late:
            task.cancel()
        _, late = await asyncio.wait(late, timeout=_CANCEL_SECONDS)


async def within(seconds: float, work: Coroutine[object, object, T]) -> T:
    """What the work returns; raises TimeoutError where it takes longer, and cancels it until it is done."""
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    finally:
        await end([task])
    if not done:
        raise TimeoutError
    return task.result()


async def uninterrupted(work: Callable[[], object]) -> None:
    """Run blocking work in a thread to its end, even where this task is cancelled meanwhile."""
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
