"""How long an installation needs for an hour of traffic that came while its workers were away."""

from __future__ import annotations

import asyncio
import json
from itertools import takewhile
from pathlib import Path
from time import perf_counter

from stream_reco.clock import SystemClock
from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Event
from stream_reco.simulate import generate
from tests.bench.running_installation import WORKERS, Installation, installation
from tests.bench.running_server import wait_until
from tests.integration import kafka_log
from tests.redis_server import RedisServer

_HOUR_MS = 3_600_000
_SLATE = 10
_ACTIONS = 0.2
"""On a slate in the simulated world, about: only the rate depends on it."""
_NEWEST_MS = 120_000
"""The world comes in steps of a minute, so that its last events are as old as that."""


def catch_up(kafka: KafkaSettings, redis: RedisServer, folder: Path, a_second: float) -> dict[str, object]:
    """Seconds from the start of the workers, that of their processes included, until nothing is left to do.

    `a_second` is how many events came in each second of the hour. `served` is when the scorer has what was learned from
    the last of them.
    """
    redis.do("FLUSHALL")
    now = SystemClock().now_ms()
    hour = an_hour(now - _HOUR_MS, a_second)
    with installation(kafka, redis, folder, sync_seconds=1.0) as running:
        running.stop_workers()
        asyncio.run(kafka_log.write(kafka, [kafka_log.message(event) for event in hour]))
        started = perf_counter()
        for name in WORKERS:
            running.start(name)
        last = hour[-1].timestamp
        seconds = {}
        for what, is_done in {
            "interests": lambda: not asyncio.run(kafka_log.lag(kafka, "interests")),
            "labelling": lambda: not asyncio.run(kafka_log.lag(kafka, "labelling")),
            "served": lambda: stream_time(running) >= last,
        }.items():
            wait_until(is_done)
            seconds[what] = round(perf_counter() - started, 1)
        return {"events": len(hour), "seconds": seconds, "times_as_fast_as_it_came": round(3600 / seconds["served"])}


def an_hour(start_ms: int, a_second: float) -> list[Event]:
    """About `a_second` events for each second from `start_ms` (ms) on."""
    requests = a_second / (_SLATE + _ACTIONS)
    log = generate(10**9, 3, users=2000, items=2000, slate=_SLATE, requests_per_second=requests, start_ms=start_ms)
    until = start_ms + _HOUR_MS - _NEWEST_MS
    return list(takewhile(lambda event: event.timestamp < until, log))


def stream_time(running: Installation) -> int:
    """Up to where the scorer knows what was learned from, ms."""
    return int(json.loads(running.client.ask("GET", "/v1/status")[1])["stream_time"])
