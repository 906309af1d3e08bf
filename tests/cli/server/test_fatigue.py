"""A visitor who never clicks sees more than the same ten items, with default settings, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from stream_reco.clock import SystemClock
from tests.cli.server.test_embedded import server
from tests.waiting import until

ITEMS, REQUESTS, K = 480, 30, 10


def post(client: httpx.Client, events: list[dict[str, Any]]) -> None:
    """Send events, and wait until they are learned from."""
    answer = client.post("/v1/events", json=events).json()
    assert answer["accepted"] == len(events), answer
    until(lambda: client.get("/v1/status").json()["backlog"] == 0, 20)


def shown_to(client: httpx.Client, visitor: str) -> list[list[str]]:
    """The slates of one who looks at all of each and clicks nothing."""
    slates = []
    for _ in range(REQUESTS):
        answer = client.post("/v1/recommend", json={"user_id": visitor, "k": K}).json()
        slate = [item["item_id"] for item in answer["items"]]
        assert len(slate) == K
        slates.append(slate)
        seen = {"type": "impression", "user_id": visitor, "request_id": answer["request_id"]}
        post(client, [seen | {"item_id": item, "position": place} for place, item in enumerate(slate, 1)])
    return slates


def clicks_of_others() -> list[dict[str, Any]]:
    """Sixty people who like a few items much more than the others, each of a category of their own."""
    rng, now = np.random.default_rng(0), SystemClock().now_ms() - 60_000
    share = 1.0 / np.arange(1, ITEMS // 8 + 1)
    return [
        {
            "type": "action",
            "action": "click",
            "user_id": f"u{number % 60}",
            "item_id": f"i{number % 60 % 8 + 8 * int(rng.choice(len(share), p=share / share.sum()))}",
            "timestamp": now + 30 * number,
        }
        for number in range(1_500)
    ]


@pytest.mark.parametrize("learned", [False, True], ids=["before anything was learned", "after"])
def test_who_never_clicks_is_shown_more_than_ten_items(tmp_path: Path, learned: bool) -> None:
    catalogue = [
        {"type": "item", "item_id": f"i{number}", "features": {"category": f"c{number % 8}"}} for number in range(ITEMS)
    ]
    with server(tmp_path / "shop") as (_, client):
        post(client, catalogue)
        if learned:
            post(client, clicks_of_others())
        version = client.get("/v1/status").json()["version"]
        until(lambda: client.get("/v1/status").json()["version"] > version or version > 1, 20)
        until(lambda: client.post("/v1/recommend", json={"user_id": "new", "k": K}).json()["items"], 20)
        slates = shown_to(client, "visitor")
        again = client.post("/v1/recommend", json={"user_id": "someone else", "k": K}).json()["items"]
    distinct = {item for slate in slates for item in slate}
    assert len(distinct) >= 30, len(distinct)
    if learned:
        # What goes down for one stays up for another: it was passed over by one person only.
        assert len({item["item_id"] for item in again} & set(slates[0])) >= 5
