"""A stream whose clicks take minutes to weeks, with their true probabilities, to measure the cost of delays."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from stream_reco.events import Event, Impression
from stream_reco.simulate.delays import Delay
from stream_reco.simulate.world import DAY_MS, HOUR_MS, World

MINUTES_TO_WEEKS = Delay(median_ms=HOUR_MS, sigma=2.5, most_ms=20 * DAY_MS)
"""A click in ten comes within two and a half minutes, one in ten after a day, one in a hundred after two weeks."""


def late_clicks(
    days: int,
    seed: int,
    *,
    requests_per_day: float = 500.0,
    users: int = 300,
    items: int = 100,
    slate: int = 5,
    delay: Delay = MINUTES_TO_WEEKS,
    start_ms: int = 1_700_000_000_000,
) -> Iterator[tuple[Event, float | None]]:
    """Yield events by time, impressions with the true probability that they are clicked; all clicks come in the end.

    Slates are random. Tastes drift and items live for about two months. The same arguments give the same events. Raises
    ValueError for numbers that make no world.
    """
    if days < 1 or slate < 1 or not requests_per_day > 0.0:
        raise ValueError("give at least one day, slates of at least one item and some requests a day")
    world = World(
        seed,
        users=users,
        items=items,
        topics=8,
        interests=2,
        interest_life_ms=60 * DAY_MS,
        item_life_ms=60 * DAY_MS,
        requests_per_second=requests_per_day * 1000 / DAY_MS,
        click_delay=delay,
        purchase_rate=0.0,
        start_ms=start_ms,
    )
    later: list[tuple[int, int, Event]] = []
    order = count()
    for hour in range(24 * days):
        until = start_ms + (hour + 1) * HOUR_MS - 1
        happened = list(_hour(world, slate, None if hour == 0 else until - HOUR_MS, until))
        for event, chance in happened:
            if chance is None:
                heapq.heappush(later, (event.timestamp, next(order), event))
        yield from _by_time([one for one in happened if one[1] is not None], later, until)
    while later:
        yield heapq.heappop(later)[2], None


def _hour(world: World, slate: int, since: int | None, until: int) -> Iterator[tuple[Event, float | None]]:
    """Impressions in since < time ≤ until with their probabilities, and their clicks, however late."""
    for event in world.item_events(since, world.start_ms if since is None else until):
        yield event, None
    looked = world.examination(slate).tolist()
    for request in world.step(until):
        user, now = request.user_id, request.timestamp
        shown = world.random_slate(user, slate, now)
        chances = [world.click_probability(user, item, now) for item in shown]
        events = world.respond(user, shown, now, propensities=[1.0 / world.items] * len(shown), context=request.context)
        for event in events:
            chance = None
            if isinstance(event, Impression) and event.position is not None:
                chance = chances[event.position - 1] * looked[event.position - 1]
            yield event, chance


def _by_time(
    shown: list[tuple[Event, float | None]], later: list[tuple[int, int, Event]], until: int
) -> Iterator[tuple[Event, float | None]]:
    """Impressions in their order, merged with the clicks that are due up to `until`."""
    for event, chance in shown:
        while later and later[0][0] <= event.timestamp:
            yield heapq.heappop(later)[2], None
        yield event, chance
    while later and later[0][0] <= until:
        yield heapq.heappop(later)[2], None
