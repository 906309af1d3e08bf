"""A shop for benchmarks: a catalogue, and clicks whose items are liked as unequally as in real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stream_reco.events import Action, Event, ItemEvent
from stream_reco.retrieve.settings import RetrieveSettings

START_MS = 1_700_000_000_000
CLICK_MS = 500
ITEMS, USERS = 10_000, 5_000
# With the default quotas a request of this shop gets fewer; what is measured is told beside the figures.
RETRIEVE = RetrieveSettings(trending=150, tower=250, interests=150, fresh=100, limit=600)


def catalogue(start: int = START_MS) -> list[Event]:
    """Every item announced."""
    return [
        ItemEvent(item_id=item, timestamp=start, event_id=f"item-{item}", features={"topic": f"t{item % 50}"})
        for item in range(ITEMS)
    ]


def clicks(count: int, seed: int = 0, start: int = START_MS) -> list[Event]:
    """`count` clicks from `start` (ms) on, two a second, on items of Zipf popularity near each user's taste."""
    rng = np.random.default_rng(seed)
    users = rng.integers(USERS, size=count).tolist()
    liked = (rng.zipf(1.15, size=count) - 1) % ITEMS
    # A third of the clicks are on what the user's own corner of the shop likes.
    own = (np.array(users) * 7919 + rng.zipf(1.5, size=count)) % ITEMS
    items = np.where(rng.random(count) < 1 / 3, own, liked).tolist()
    devices = rng.choice(["phone", "desktop", "tablet"], size=count).tolist()
    return [
        Action(
            user_id=user,
            item_id=item,
            action="click",
            timestamp=start + place * CLICK_MS,
            event_id=f"{seed}-{place}",
            context={"device": device},
        )
        for place, (user, item, device) in enumerate(zip(users, items, devices, strict=True))
    ]


def batches(events: Sequence[Event], size: int) -> Iterator[Sequence[Event]]:
    """The events in their order, `size` at a time."""
    for first in range(0, len(events), size):
        yield events[first : first + size]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99)}
