"""The events of a small shop, the same in every release: what the records of version 0.1.0 were made of."""

from __future__ import annotations

from collections.abc import Iterator

from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.events.schema import Scalar

START = 1_760_000_000_000
"""Time of the first event, ms."""
MINUTE = 60_000
USERS: tuple[Id, ...] = ("ann", "bob", "7", 7, -3, 2**62 + 1, "zoë", "gone")
"""Text and integers, also where both look alike; "gone" is deleted later."""
ITEMS: tuple[Id, ...] = (*(f"item {number}" for number in range(9)), *range(8), -(2**62), 2**63 - 1, "3")
_SLATE = 4
_ROUND_MS = 180 * MINUTE
"""Rounds of several weeks, so that the first windows have passed when the last impressions are new."""
_KINDS = ("click", "buy", "click", "dislike", "click", "watch")


def shop_events(rounds: int, first: int = 0) -> list[Event]:
    """Rounds of a shop from round number `first`: in each one user is shown a slate and acts on some of it.

    All five kinds of events, context, groups and propensities; actions with and without a request; retractions.
    """
    return [event for number in range(first, first + rounds) for event in _round(number)]


def described() -> list[Event]:
    """What the shop says about its items and users at its start."""
    tags: tuple[list[Scalar], ...] = ([], ["a"], ["a", "b"])
    items = (
        ItemEvent(
            item_id=item,
            timestamp=START,
            event_id=f"item-{number}",
            features={"kind": f"k{number % 3}", "tags": tags[number % 3], "price": number * 1.5},
            available=number != 5,
        )
        for number, item in enumerate(ITEMS)
    )
    users = (
        UserEvent(user_id=user, timestamp=START, event_id=f"user-{number}", features={"age": 20 + number})
        for number, user in enumerate(USERS)
    )
    return [*items, *users]


def user_of(number: int) -> Id:
    """Who comes in a round."""
    return USERS[number * 5 % len(USERS)]


def shown_in(number: int) -> list[Id]:
    """What is shown in a round, from the top."""
    return [ITEMS[(number * 3 + place * (1 + number % 4)) % len(ITEMS)] for place in range(_SLATE)]


def time_of(number: int) -> int:
    """When a round begins, ms."""
    return START + MINUTE + number * _ROUND_MS


def _round(number: int) -> Iterator[Event]:
    user, shown, time, request = user_of(number), shown_in(number), time_of(number), f"request-{number}"
    context: dict[str, str | int | float | bool | None] = {"device": f"d{number % 3}", "new": number % 2 == 0}
    for place, item in enumerate(shown):
        yield Impression(
            user_id=user,
            item_id=item,
            timestamp=time,
            event_id=f"impression-{number}-{place}",
            request_id=request,
            position=place,
            propensity=1 / len(ITEMS),
            context=context,
        )
    chosen = number % _SLATE
    if number % 5 != 4:  # else nothing happens, and all of the slate stays pending
        yield Action(
            user_id=user,
            item_id=shown[chosen],
            action=_KINDS[number % len(_KINDS)],
            value=float(number % 7),
            timestamp=time + MINUTE,
            event_id=f"action-{number}",
            request_id=request,
            context=context,
        )
    if number % 4 == 1:
        yield Action(
            user_id=user,
            item_id=ITEMS[(number * 7) % len(ITEMS)],
            action="click",
            timestamp=time + 2 * MINUTE,
            event_id=number * 1_000 + 1,
        )
    if number % 6 == 2:
        yield Retraction(
            retracts=f"action-{number}", timestamp=time + 3 * MINUTE, event_id=f"retraction-{number}", user_id=user
        )


def afterwards(rounds: int) -> list[Event]:
    """What happens to a shop that has seen so many rounds: its present is continued, and parts of it come again."""
    now = time_of(rounds)
    pending = next(number for number in range(rounds - 1, 0, -1) if number % 5 == 4 and user_of(number) != "gone")
    clicked = next(number for number in range(rounds - 1, 0, -1) if number % 6 == 0 and number % 5 != 4)
    return [
        *shop_events(1, first=rounds - 1),  # again, each event by the same id
        Action(
            user_id=user_of(pending),
            item_id=shown_in(pending)[2],
            action="click",
            timestamp=now,
            event_id="late click",
            request_id=f"request-{pending}",
        ),
        Retraction(
            retracts=f"action-{clicked}", timestamp=now + 1, event_id="late retraction", user_id=user_of(clicked)
        ),
        *shop_events(6, first=rounds),
    ]
