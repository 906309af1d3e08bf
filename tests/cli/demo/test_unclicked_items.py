"""To whom the demo's new items are shown before their first click, against a recount of what was posted."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from typing import Any

from rich.console import Console

from stream_reco.cli.demo.simulated_users import SimulatedUsers, demo_world
from stream_reco.cli.demo.unclicked_items import UnclickedItem, UnclickedItems
from stream_reco.cli.demo.view import DemoView

T = 1_700_000_000_000
STATUS = {"events": 1, "examples": 2, "version": 3, "rows": 4}


def test_slates_are_counted_until_the_first_click() -> None:
    items = UnclickedItems()
    items.add(7, "shoes")
    for _ in range(6):
        items.show(["shoes", "hats"], [7, 1])
    items.show(["shoes"], [1])
    items.show(["hats"], [7])
    items.show([], [1])
    assert items.latest is None
    assert items.in_words() == ""
    items.click(7)
    items.show(["shoes"], [7])
    items.click(7)
    assert items.latest is not None
    assert items.latest.in_words() == (
        "new item 7 (shoes): in 6 of 7 (86%) slates of people who like shoes, 1 of 2 (50%) of others, before its first"
        " click"
    )
    assert items.clicked == 1
    assert items.in_words() == (
        "1 new items before their first click: in 85.7% of the slates of people who like their category, in 50.0% of"
        " others"
    )


def test_an_item_of_which_little_can_be_said_counts_but_is_not_named() -> None:
    items = UnclickedItems()
    for item in (1, 2):
        items.add(item, "hats")
    items.show(["hats"], [1])
    items.discard(2)
    items.click(1)
    items.click(2)
    items.click(99)
    assert items.latest is None
    assert (items.clicked, items.fans.shown, items.fans.slates) == (1, 1, 1)


class ShowingServer:
    """Recommends the newest items to those who like their category, then the oldest, and keeps what it was sent."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.slates: list[tuple[int, list[int], int]] = []
        self._category: dict[int, str] = {}
        self._likes: dict[int, list[str]] = {}

    def post(self, path: str, body: bytes) -> Any:
        sent = json.loads(body)
        if path == "/v1/events":
            for event in sent:
                self.posted.append(event)
                if event["type"] == "item" and event["available"]:
                    self._category[event["item_id"]] = event["features"]["category"]
                elif event["type"] == "item":
                    self._category.pop(event["item_id"])
                elif event["type"] == "user":
                    self._likes[event["user_id"]] = event["features"]["tastes"]
            return {"accepted": len(sent), "duplicates": 0, "rejected": []}
        user = sent["user_id"]
        newest = sorted(self._category, reverse=True)
        liked = [item for item in newest if self._category[item] in self._likes.get(user, [])]
        items = (liked + newest[::-1])[:5]
        items = list(dict.fromkeys(items))
        self.slates.append((user, items, len(self.posted)))
        return {"request_id": str(len(self.slates)), "items": [{"item_id": item} for item in items]}


def test_the_people_of_the_demo_say_what_they_like_and_what_is_new_is_followed() -> None:
    server = ShowingServer()
    people = SimulatedUsers(demo_world(0, T), server)  # type: ignore[arg-type]
    steps = []
    for now in range(T, T + 120_000, 500):
        people.step(now)
        steps.append(len(server.posted))
    born: dict[int, tuple[int, str]] = {}
    clicked: dict[int, int] = {}
    likes: defaultdict[int, list[tuple[int, list[str]]]] = defaultdict(list)
    for place, event in enumerate(server.posted):
        if event["type"] == "item" and event["available"] and place >= steps[0]:
            born[event["item_id"]] = (place, event["features"]["category"])
        elif event["type"] == "user":
            likes[event["user_id"]].append((place, event["features"]["tastes"]))
        elif event["type"] == "action":
            clicked.setdefault(event["item_id"], place)
    assert len(likes) == 300
    assert {category for _, category in born.values()} <= {
        one for told in likes.values() for _, all_ in told for one in all_
    }
    assert people.new_items.clicked == len([item for item in born if item in clicked]) > 3
    # Everything that reached those who like it first: nobody else is shown what is new here.
    assert people.new_items.fans.share > 10 * people.new_items.others.share
    latest = people.new_items.latest
    assert latest is not None
    assert latest.category == born[int(str(latest.item_id))][1]


def test_the_view_names_each_item_once() -> None:
    people = SimulatedUsers(demo_world(0, T), ShowingServer())  # type: ignore[arg-type]
    shown = io.StringIO()
    with DemoView(Console(file=shown, width=300), "http://x") as view:
        view.update(0.0, people, STATUS)
        for item in (5, 6):
            people.new_items.add(item, "tea")
            for _ in range(5):
                people.new_items.show(["tea"], [item])
            people.new_items.click(item)
            view.update(5.0 * item, people, STATUS)
            view.update(5.0 * item + 1.0, people, STATUS)
            view.update(5.0 * item + 2.5, people, STATUS)
        view.update(60.0, people, STATUS)
    assert shown.getvalue().count("new item 5 (tea): in 5 of 5 (100%) slates") == 1
    assert shown.getvalue().count("new item 6 (tea)") == 1
    terminal = io.StringIO()
    with DemoView(Console(file=terminal, width=300, force_terminal=True), "http://x") as view:
        view.update(0.0, people, STATUS)
    assert "new item 6 (tea)" in terminal.getvalue()
    assert "2 new items before their first click" in terminal.getvalue()
    assert isinstance(people.new_items.latest, UnclickedItem)
