"""How soon the answers of a running server follow what people do, with a sync every second.

A click of one's own has to leave one's own slate; an item that nobody has seen before and twenty people click has to
come into the top 20 of somebody of whom nothing is known. The time runs from the moment the events are sent.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter

from stream_reco.clock import SystemClock
from stream_reco.events import Action, Id
from tests.bench.busy_shop import CLICK_MS, batches, catalogue, clicks, quantiles
from tests.bench.running_server import CONTEXT, Client, has_learned, server, wait_until

LOADED = 15_000
_ROUNDS = 20
_CLICKS = 20
_TOP = 20
_LOOK_SECONDS = 0.02
_LONGEST_SECONDS = 30.0
_strangers = count()


def bench_own_click(client: Client, rounds: int) -> dict[str, float]:
    """Milliseconds until the item that somebody clicks is no longer offered to them."""
    taken = []
    for number in range(rounds):
        user = f"visitor-{number}"
        item = client.recommend(user)[0]
        start = perf_counter()
        client.send([_click(user, item)])
        taken.append(_until(partial(_is_gone, client, user, item), start))
    return quantiles(taken)


def bench_new_item(client: Client, rounds: int) -> dict[str, float]:
    """Milliseconds until a new item that twenty people click is in a stranger's top 20."""
    taken = []
    for number in range(rounds):
        item = f"new-{number}"
        start = perf_counter()
        client.send([_click(f"early-{number}-{one}", item) for one in range(_CLICKS)])
        taken.append(_until(partial(_is_offered, client, item), start))
    return quantiles(taken) | {"longest_ms": max(taken) * 1e3}


def _is_gone(client: Client, user: Id, item: Id) -> bool:
    return item not in client.recommend(user)


def _is_offered(client: Client, item: Id) -> bool:
    """To somebody else each time."""
    return item in client.recommend(f"stranger-{next(_strangers)}", _TOP)


def _click(user: Id, item: Id) -> Action:
    now = SystemClock().now_ms()
    return Action(user_id=user, item_id=item, action="click", timestamp=now, context=dict(CONTEXT))


def _until(happened: Callable[[], bool], start: float) -> float:
    while not happened():
        if perf_counter() - start > _LONGEST_SECONDS:
            raise TimeoutError(f"the answer has not changed within {_LONGEST_SECONDS} s")
        time.sleep(_LOOK_SECONDS)
    return perf_counter() - start


def run(loaded: int = LOADED, rounds: int = _ROUNDS) -> dict[str, object]:
    """Everything; about two minutes."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as port:
        client = Client(port)
        opened = SystemClock().now_ms() - loaded * CLICK_MS
        for batch in batches([*catalogue(opened), *clicks(loaded, start=opened)], 1_000):
            client.send(batch)
        wait_until(lambda: has_learned(client))
        return {
            "own_click_until_gone_from_own_slate": bench_own_click(client, rounds),
            "new_item_until_in_a_strangers_top_20": bench_new_item(client, rounds),
        }
