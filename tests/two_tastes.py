"""A shop of two kinds of items and two groups of users who have said what they like, played over any wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

ITEMS, USERS, ROUNDS, SHOWN = 40, 24, 4, 5
KINDS = ("tea", "mug")
WORDS = ("asleep", "clumsy")
"""What those say of themselves who like the kind in the same place: a word that no item has."""
SETTINGS = {
    "LABELS_POLICY": "immediate",
    "LABELS_LATENESS_SECONDS": "0.5",
    "SLATE_EXPLORE": "0",
    "TRAINING_BATCH": "16",
}
"""An impression is a negative soon, nothing is left to chance."""


class Wiring(Protocol):
    """A running loop."""

    def post(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take events of now."""

    def slate(self, user: str, count: int) -> Mapping[str, Any]:
        """What is recommended now, as `POST /v1/recommend` answers."""

    def forget(self, user: str) -> None:
        """Delete what is known of a user."""

    def settle(self) -> None:
        """Return once all that was posted of items and impressions was learned from and is served."""

    def until(self, condition: Callable[[], bool]) -> None:
        """Return once what was posted of a user has come to where slates are made; nothing more is published for it."""


def kind_of(item: str) -> str:
    return item.split("-")[0]


def group_of(user: str) -> int:
    return int(user.split("-")[1]) % 2


def item(name: str) -> dict[str, Any]:
    return {"type": "item", "item_id": name, "features": {"kind": kind_of(name)}}


def described(user: str, group: int) -> dict[str, Any]:
    return {"type": "user", "user_id": user, "features": {"am": WORDS[group], "age": 30}}


def play(wiring: Wiring) -> None:
    """Let people come, look and click; then see who is shown what."""
    people = [f"user-{number}" for number in range(USERS)]
    wiring.post([item(f"{KINDS[number % 2]}-{number}") for number in range(ITEMS)])
    wiring.post([described(user, group_of(user)) for user in people])
    wiring.settle()
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        looks = [seen_by(user, wiring.slate(user, ITEMS), rng) for user in people]
        for events in looks:
            wiring.post(events)
        wiring.settle()
    a_new_item_comes_to_those_who_like_its_kind(wiring, people)
    a_new_user_gets_what_the_profile_says(wiring)


def seen_by(user: str, slate: Mapping[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Some of a long slate are shown, wherever they stand, and the first of the kind that the user likes is clicked."""
    names = sorted(one["item_id"] for one in slate["items"])
    shown: list[str] = rng.choice(names, SHOWN, replace=False).tolist()
    about = {"user_id": user, "request_id": slate["request_id"]}
    events: list[dict[str, Any]] = [
        {"type": "impression", "item_id": name, "position": place, **about} for place, name in enumerate(shown)
    ]
    liked = [name for name in shown if kind_of(name) == KINDS[group_of(user)]]
    return events + [{"type": "action", "action": "click", "item_id": name, **about} for name in liked[:1]]


def items_of(wiring: Wiring, user: str, count: int) -> list[str]:
    return [one["item_id"] for one in wiring.slate(user, count)["items"]]


def scores_of(wiring: Wiring, user: str) -> dict[str, float]:
    return {one["item_id"]: round(one["score"], 6) for one in wiring.slate(user, ITEMS + len(KINDS))["items"]}


def a_new_item_comes_to_those_who_like_its_kind(wiring: Wiring, people: Sequence[str]) -> None:
    """Nobody has seen it: the one half finds it before what they do not like, the other behind what they like."""
    names = [f"{kind}-new" for kind in KINDS]
    wiring.post([item(name) for name in names])
    wiring.settle()
    for user in people:
        ranked, group = items_of(wiring, user, ITEMS + len(KINDS)), group_of(user)
        above, below = ranked[: ranked.index(names[group])], ranked[ranked.index(names[1 - group]) :]
        assert sum(kind_of(name) != KINDS[group] for name in above) <= 1, (user, ranked)
        assert sum(kind_of(name) == KINDS[group] for name in below) <= 1, (user, ranked)


def a_new_user_gets_what_the_profile_says(wiring: Wiring) -> None:
    """Before anything else is known of the user; another profile counts from the next request on, and none after it."""

    def likes(group: int) -> bool:
        return {kind_of(name) for name in items_of(wiring, "newcomer", 4)} == {KINDS[group]}

    for group in (0, 1, 0):
        wiring.post([described("newcomer", group)])
        wiring.until(lambda group=group: likes(group))  # type: ignore[misc] # mypy infers no type of such a lambda
    assert scores_of(wiring, "newcomer") != scores_of(wiring, "nobody")
    wiring.forget("newcomer")
    wiring.until(lambda: scores_of(wiring, "newcomer") == scores_of(wiring, "nobody"))
