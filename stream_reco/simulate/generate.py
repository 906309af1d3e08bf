"""A stream of events of a simulated world, for tests that need many, as messy as the real ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from stream_reco.events import Event
from stream_reco.simulate.delays import PURCHASE
from stream_reco.simulate.draws import Draw, generator
from stream_reco.simulate.world import DAY_MS, World

_HOP_MS = 60_000


def generate(
    n_events: int,
    seed: int,
    *,
    users: int = 200,
    items: int = 100,
    slate: int = 5,
    late_days: float = 7.0,
    disorder_ms: int = 0,
    duplicate_rate: float = 0.0,
    requests_per_second: float = 0.02,
    start_ms: int = 1_700_000_000_000,
) -> Iterator[Event]:
    """Yield impressions and actions as they arrive: by time, but each up to `disorder_ms` late.

    Slates are random (propensity 1 / items), purchases come up to `late_days` after their click, and a share of
    `duplicate_rate` of the events arrives twice, each time with its own lateness. The same arguments give the same
    events.
    """
    if min(n_events, slate - 1, disorder_ms) < 0 or not 0.0 <= duplicate_rate <= 1.0:
        raise ValueError("give at least 0 events, slates of at least 1, disorder of at least 0, duplicates from 0 to 1")
    if not (late_days > 0.0 and requests_per_second > 0.0):
        raise ValueError(
            "responses take some time and somebody has to come: late_days and requests_per_second are above 0"
        )
    delay = replace(PURCHASE, most_ms=max(1, int(late_days * DAY_MS)))
    world = World(
        seed, users=users, items=items, requests_per_second=requests_per_second, purchase_delay=delay, start_ms=start_ms
    )
    return _limited(_arriving(world, slate, disorder_ms, duplicate_rate), n_events)


def _limited(events: Iterator[Event], n_events: int) -> Iterator[Event]:
    for _, event in zip(range(n_events), events, strict=False):
        yield event


def _arriving(world: World, slate: int, disorder_ms: int, duplicate_rate: float) -> Iterator[Event]:
    rng = generator(world.seed, Draw.DISORDER)
    underway: list[tuple[int, int, Event]] = []
    order = count()
    for now in count(world.start_ms, _HOP_MS):
        for event in _happening(world, slate, now):
            copies = 2 if rng.random() < duplicate_rate else 1
            for _ in range(copies):
                at = event.timestamp + int(rng.integers(0, disorder_ms + 1))
                heapq.heappush(underway, (at, next(order), event))
        while underway and underway[0][0] <= now:
            yield heapq.heappop(underway)[2]


def _happening(world: World, slate: int, now: int) -> Iterator[Event]:
    for request in world.step(now):
        shown = world.random_slate(request.user_id, slate, request.timestamp)
        yield from world.respond(
            request.user_id,
            shown,
            request.timestamp,
            propensities=[1.0 / world.items] * len(shown),
            context=request.context,
        )
