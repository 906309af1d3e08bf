"""New items that people act on, before strangers' eyes within two seconds, one after another."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import httpx
import numpy as np

from stream_reco.clock import SystemClock
from stream_reco.events import Action, Event, ItemEvent, encode
from tests.cli.server.test_embedded import server
from tests.waiting import until

NEW, EARLY, TOP = 30, 20, 20
"""New items, people who click each, and the length of a stranger's slate."""
WITHIN_SECONDS = 2.0
HISTORY, ITEMS = 2_000, 300
CLICK_MS = 500
PAUSE_SECONDS = 0.37
"""Between two new items, times their number, to within a second."""
STEADY = 3
"""Clicks a round on what was there before, so that the new ones are not all that happens."""


def history(now: int) -> list[Event]:
    """300 items, of which a few are liked most, and the clicks of the last quarter of an hour."""
    rng = np.random.default_rng(0)
    start = now - (HISTORY - ITEMS) * CLICK_MS
    events: list[Event] = [ItemEvent(item_id=item, timestamp=start, event_id=f"item-{item}") for item in range(ITEMS)]
    for place in range(HISTORY - ITEMS):
        item = int((rng.zipf(1.3) - 1) % ITEMS)
        events.append(click(f"past-{rng.integers(300)}", item, start + place * CLICK_MS, f"past-{place}"))
    return events


def click(user: str, item: int | str, now: int, event_id: str) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=now, event_id=event_id)


def send(client: httpx.Client, events: list[Event]) -> None:
    answer = client.post("/v1/events", content=b"[" + b",".join(map(encode, events)) + b"]")
    assert answer.json()["accepted"] == len(events), answer.text


def test_thirty_new_items_that_come_one_after_another_are_each_before_strangers_within_two_seconds(
    tmp_path: Path,
) -> None:
    clock, strangers, numbers = SystemClock(), count(), count()
    with server(tmp_path / "shop", "--sync-interval", "1") as (_, client):
        send(client, history(clock.now_ms()))
        until(lambda: client.get("/v1/status").json()["backlog"] == 0, 60)
        taken = []
        for item in range(NEW):
            # Publications come every second: some cut the clicks of an item in two.
            time.sleep(PAUSE_SECONDS * item % 1.0)
            start, now = time.monotonic(), clock.now_ms()
            steady = [click(f"day-{next(numbers)}", one, now, f"day-{next(numbers)}") for one in range(STEADY)]
            early = [click(f"early-{item}-{one}", f"new-{item}", now, f"early-{item}-{one}") for one in range(EARLY)]
            send(client, [*early, *steady])
            while True:
                asked = {"user_id": f"stranger-{next(strangers)}", "k": TOP}
                found = client.post("/v1/recommend", json=asked).json()["items"]
                if any(one["item_id"] == f"new-{item}" for one in found):
                    break
                assert time.monotonic() - start < 10 * WITHIN_SECONDS, f"new-{item} never came"
                time.sleep(0.02)
            taken.append(time.monotonic() - start)
    assert max(taken) < WITHIN_SECONDS, taken
