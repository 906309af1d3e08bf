"""What must come of a log, computed plainly from all of it at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from stream_reco.events import Action, Event, Id, Impression, key_of
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.signals.settings import SignalSettings
from tests.labels.reference_join import Row, reference_join

History = list[tuple[int, int]]


def labels(log: Sequence[Event], window_ms: int) -> Counter[Row]:
    """The examples of a complete log, user by user, since what one does tells nothing on another."""
    by_user: dict[Id, list[Event]] = {}
    for event in log:
        if isinstance(event, Impression | Action):
            by_user.setdefault(event.user_id, []).append(event)
    return Counter(row for events in by_user.values() for row in reference_join(events, window_ms))


def histories(log: Sequence[Event]) -> dict[Id, History]:
    """Time and item key of each user's actions, newest first; of equal times the one that came last before."""
    found: dict[Id, dict[Id, tuple[int, int, int]]] = {}
    for number, event in enumerate(log):
        if isinstance(event, Action):
            assert event.event_id is not None
            key = key_of(event.item_id, "item")
            found.setdefault(event.user_id, {}).setdefault(event.event_id, (event.timestamp, number, key))
    length = SignalSettings().history_length
    return {
        user: [(when, key) for when, _, key in sorted(actions.values(), reverse=True)[:length]]
        for user, actions in found.items()
    }


def _copy(users: RedisUsers, user: Id) -> History | None:
    """What Redis has of a user."""
    data = users.get(user).state
    if data is None:
        return None
    state = UserState.from_bytes(data)
    return list(zip(state.times.tolist(), state.items.tolist(), strict=True))


async def until_equal(users: RedisUsers, wanted: dict[Id, History], seconds: float = 90.0) -> None:
    """Wait until Redis has of all users what is wanted."""
    deadline = time.monotonic() + seconds
    while differing := [user for user, history in wanted.items() if _copy(users, user) != history]:
        assert time.monotonic() < deadline, f"{len(differing)} of {len(wanted)} differ, such as {differing[:3]}"
        await asyncio.sleep(0.3)
