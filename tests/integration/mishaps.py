"""An installation to which happens what happens in production, one thing after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from itertools import chain, count, repeat
from pathlib import Path

import numpy as np

from stream_reco.config.servers import KafkaSettings
from tests.integration.workers import Worker
from tests.kafka_server import KafkaServer
from tests.programs import stop_all
from tests.redis_server import RedisServer

KINDS = ("kill", "kill", "kill", "freeze", "kafka", "flush", "redis", "join", "leave", "freeze")
"""All that can happen, and how often in a round."""
_FIRST = ("labelling-0", "labelling-1", "interests-0", "training-0", "training-1")
_STAYING = ("labelling-0", "interests-0", "training-0")
_MOST = 7
_LONG_SLEEP_SECONDS = 30.0
_LEAVE_SECONDS = 60.0


class Installation:
    """All workers of one installation, and the servers that they need."""

    def __init__(
        self, kafka: KafkaSettings, broker: KafkaServer, redis: RedisServer, folder: Path, settings: Mapping[str, str]
    ) -> None:
        """`settings` are environment variables without their prefix."""
        self.kafka, self._broker, self._redis, self._folder = kafka, broker, redis, folder
        self._settings = settings
        self._asleep: dict[str, asyncio.Task[None]] = {}
        self._sleeps: Iterator[float] = chain([_LONG_SLEEP_SECONDS], repeat(2 * kafka.session_seconds))
        self._numbers = count(2)
        self._leaving: list[Worker] = []
        self.workers: dict[str, Worker] = {}
        self.happened: list[str] = []

    def start(self) -> None:
        """Start those who are there from the beginning."""
        for place in _FIRST:
            self._start(place)

    def _start(self, place: str) -> None:
        """Start the worker of a place, such as `labelling-1`, in its folder of before."""
        name = place.partition("-")[0]
        options = ("--sync-interval", "1") if name == "training" else ()
        self.workers[place] = Worker(name, self.kafka, self._folder / place, self._settings, options)

    async def mishap(self, kind: str, rng: np.random.Generator) -> None:
        """Let one of `KINDS` happen, to a place that is awake where it is one; whoever is frozen wakes up later."""
        awake = sorted(self.workers.keys() - self._asleep.keys())
        may_leave = [place for place in awake if place not in _STAYING]
        self.happened.append(kind)
        if kind == "kafka":
            await self._restart(self._broker)
        elif kind == "redis":
            await self._restart(self._redis)
        elif kind == "flush":
            self._redis.do("FLUSHALL")
        elif kind == "join" and len(self.workers) < _MOST:
            self._start(f"{rng.choice(['labelling', 'interests'])}-{next(self._numbers)}")
        elif kind == "leave" and may_leave:
            self._leave(str(rng.choice(may_leave)))
        elif kind == "kill":
            self._kill(str(rng.choice(awake)))
        elif kind == "freeze":
            self._freeze(str(rng.choice(awake)))

    @staticmethod
    async def _restart(server: KafkaServer | RedisServer) -> None:
        server.kill()
        await asyncio.sleep(1)
        # In a thread, so that whoever is to wake up does.
        await asyncio.to_thread(server.start)

    def _kill(self, place: str) -> None:
        self.happened[-1] += f" {place}"
        self.workers[place].kill()
        self._start(place)

    def _leave(self, place: str) -> None:
        self.happened[-1] += f" {place}"
        worker = self.workers.pop(place)
        worker.process.terminate()
        self._leaving.append(worker)

    def _freeze(self, place: str) -> None:
        seconds = next(self._sleeps)
        self.happened[-1] += f" {place} for {seconds:.0f} s"
        self.workers[place].freeze()
        self._asleep[place] = asyncio.create_task(self._wake(place, seconds))

    async def _wake(self, place: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.workers[place].wake()
        del self._asleep[place]

    async def all_awake(self) -> None:
        """Return once nobody is frozen any more."""
        await asyncio.gather(*self._asleep.values())

    def said(self) -> str:
        """The last words of all workers."""
        return "\n\n".join(f"{place}:\n{worker.said()[-3000:]}" for place, worker in self.workers.items())

    def stop(self) -> None:
        """End all workers as an operator would, and see that whoever has left has ended well too."""
        stop_all(self.workers.values())
        for worker in self._leaving:
            # Whoever was told to leave while it was still being loaded knows nothing of signals yet.
            assert worker.process.wait(_LEAVE_SECONDS) in (0, -signal.SIGTERM), worker.said()

    def kill(self) -> None:
        """Leave nothing behind."""
        for worker in [*self.workers.values(), *self._leaving]:
            worker.kill()
