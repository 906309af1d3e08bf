"""Waiting that ends: for what comes first, for what will not be cancelled, for what must be done."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from topologies.client import cancellation
from topologies.client.cancellation import end, is_done_before, outcome_before, pause, uninterrupted, within


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_CANCEL_SECONDS", 0.05)


async def give(what: int, seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    return what


async def fail() -> int:
    raise LookupError("nothing there")


async def stay(times: int) -> int:
    """Ends when it has been cancelled so many times, as one that asks brokers which are away."""
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    raise asyncio.CancelledError


def test_what_is_done_before_gives_its_outcome() -> None:
    async def wait() -> None:
        ending, before = asyncio.Event(), asyncio.all_tasks()
        assert await outcome_before(ending, give(7, 0.01)) == 7
        assert await is_done_before(ending, give(7, 0.01))
        for first in (outcome_before, is_done_before):
            with pytest.raises(LookupError):
                await first(ending, fail())
        ending.set()
        assert await outcome_before(ending, give(7, 60)) is None
        assert await outcome_before(ending, stay(3)) is None
        assert not await is_done_before(ending, give(7, 60))
        await pause(ending, 60)
        await pause(asyncio.Event(), 0.01)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_whoever_does_not_end_at_once_is_cancelled_again() -> None:
    async def wait() -> None:
        tasks = [asyncio.create_task(stay(times)) for times in (1, 2, 5)]
        await asyncio.sleep(0)
        await end([*tasks, asyncio.create_task(asyncio.sleep(0))])
        assert all(task.done() for task in tasks)
        await end(tasks)

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_a_bound_holds_for_what_will_not_be_cancelled() -> None:
    async def wait() -> None:
        assert await within(1.0, give(7)) == 7
        with pytest.raises(LookupError):
            await within(1.0, fail())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await within(0.1, stay(4))
        assert time.monotonic() - began < 5

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_what_must_be_done_is_done_also_where_one_is_cancelled() -> None:
    async def wait() -> None:
        may_end, ended = threading.Event(), threading.Event()

        def work() -> None:
            may_end.wait(30)
            ended.set()

        working = asyncio.create_task(uninterrupted(work))
        for _ in range(3):
            await asyncio.sleep(0.01)
            working.cancel()
        await asyncio.sleep(0.05)
        assert not working.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert ended.is_set()
        await uninterrupted(lambda: None)
        with pytest.raises(ZeroDivisionError):
            await uninterrupted(lambda: 1 // 0)

    asyncio.run(asyncio.wait_for(wait(), 10))
