"""Default settings over HTTP: of two items that say the same one stands in a slate, while there is anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.threads.service import EngineService
from stream_reco.events import Event, ItemEvent
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer

TIME = 1_700_000_000_000
TITLES = [f"The {what} that nobody expected" for what in ("storm", "goal", "vote", "strike", "comet", "record")]
COPIES = 2


def described() -> Engine:
    """Each article twice, of two agencies; nobody has read anything."""
    articles: list[Event] = [
        ItemEvent(item_id=f"{number}-{agency}", timestamp=TIME, features={"title": title, "agency": f"agency {agency}"})
        for number, title in enumerate(TITLES)
        for agency in range(COPIES)
    ]
    engine = Engine(settings=Settings(), clock=ManualClock(TIME))
    engine.ingest(articles, strict=True)
    engine.sync()
    return engine


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    service = EngineService(described, clock=ManualClock(TIME))
    service.start()
    service.opened.result(60)
    try:
        with HttpServer("127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=60) as client:
            server.start(Api(service, ManualClock(TIME), Settings().serve))
            yield client
    finally:
        service.close()


def slate(client: httpx.Client, k: int, **more: Any) -> list[str]:
    answer = client.post("/v1/recommend", json={"user_id": "reader", "k": k, **more})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def articles(items: list[str]) -> list[str]:
    return [item.split("-")[0] for item in items]


def test_an_article_stands_once_in_a_slate(client: httpx.Client) -> None:
    before = metrics.NEAR_DUPLICATES._value.get()
    for _ in range(20):
        found = articles(slate(client, 5))
        assert len(found) == len(set(found)) == 5
    assert metrics.NEAR_DUPLICATES._value.get() - before == 20 * len(TITLES)
    assert "stream_reco_near_duplicates_total" in client.get("/metrics").text


def test_a_slate_that_would_be_short_is_filled_up_with_copies(client: httpx.Client) -> None:
    assert len(slate(client, 8)) == 8
    assert set(articles(slate(client, 8))) == {str(number) for number in range(len(TITLES))}
    assert len(slate(client, 50)) == COPIES * len(TITLES)
    assert len(slate(client, 2, filters={"title": TITLES[0]})) == COPIES


def test_whatever_asks_for_an_item_by_name_gets_both(client: httpx.Client) -> None:
    similar = client.get("/v1/items/0-0/similar", params={"k": 50}).json()["items"]
    assert len(similar) == COPIES * len(TITLES) - 1
    scores = client.post("/v1/score", json={"user_id": "reader", "item_ids": ["0-0", "0-1"]}).json()["scores"]
    assert len(scores) == COPIES
