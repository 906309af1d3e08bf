"""Awaiting another thread's future: as asyncio's own, in fewer turns of the loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from stream_reco.embedded.threads.from_thread import FromThread


def later(done: Future[int], outcome: int | Exception) -> None:
    """Have another thread finish a future soon."""

    def finish() -> None:
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    threading.Timer(0.02, finish).start()


def test_it_gives_what_the_other_thread_set_before_or_later() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done: Future[int] = Future()
        done.set_result(1)
        assert await FromThread(done, loop) == 1
        for outcome in (2, ValueError("bad")):
            done = Future()
            later(done, outcome)
            if isinstance(outcome, int):
                assert await FromThread(done, loop) == outcome
            else:
                with pytest.raises(ValueError, match="bad"):
                    await FromThread(done, loop)

    asyncio.run(main())


def test_a_cancelled_task_goes_on_at_once_and_only_once() -> None:
    async def main() -> None:
        done: Future[int] = Future()
        ended: list[str] = []

        async def wait() -> None:
            try:
                await FromThread(done, asyncio.get_running_loop())
            except asyncio.CancelledError:
                ended.append("cancelled")
                await asyncio.sleep(0.01)
                ended.append("cleaned up")
                raise

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        done.set_result(1)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["cancelled", "cleaned up"]

    asyncio.run(main())


def test_the_task_goes_on_in_the_turn_in_which_the_loop_hears_of_it() -> None:
    async def turns(wrapped: bool) -> int:
        loop, done = asyncio.get_running_loop(), Future[int]()
        ended: list[int] = []

        async def wait() -> None:
            await (asyncio.wrap_future(done) if wrapped else FromThread(done, loop))
            ended.append(1)

        task = loop.create_task(wait())
        await asyncio.sleep(0)
        done.set_result(1)
        count = 0
        while not ended:
            await asyncio.sleep(0)
            count += 1
        await task
        return count

    assert asyncio.run(turns(wrapped=False)) < asyncio.run(turns(wrapped=True))
