"""Kinds of actions over HTTP: what answers say of them, and slates that are ordered by what a shop wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.threads.service import EngineService
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer
from stream_reco.serve.settings import ServeSettings, SlateSettings
from tests.learner.shop_of_kinds import ITEMS, ShopOfKinds

LOG = ShopOfKinds().log(1_500)
SETTINGS = Settings(slate=SlateSettings(explore=0.0, fatigue=0.0, keep_seen=True))


def learned() -> Engine:
    engine = Engine(settings=SETTINGS, clock=ManualClock(LOG[-1].timestamp))
    engine.ingest(LOG)
    engine.sync()
    return engine


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    service = EngineService(learned, clock=ManualClock(LOG[-1].timestamp))
    service.start()
    service.opened.result(60)
    try:
        with HttpServer("127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=60) as client:
            server.start(Api(service, ManualClock(LOG[-1].timestamp), ServeSettings()))
            yield client
    finally:
        service.close()


def slate(client: httpx.Client, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/recommend", json={"user_id": "new", "k": ITEMS, **more})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_answers_say_how_likely_each_kind_is_and_what_it_brings(client: httpx.Client) -> None:
    for item in slate(client):
        assert set(item["probabilities"]) == {"click", "buy"}
        assert 0 < item["probabilities"]["buy"] < item["probabilities"]["click"] <= item["score"] < 1
        assert set(item["values"]) == {"buy"}
    scored = client.post("/v1/score", json={"user_id": "new", "item_ids": [3, "unheard-of"]}).json()
    assert set(scored) == {"scores", "probabilities", "values"}
    assert scored["probabilities"]["buy"][0] > scored["probabilities"]["buy"][1] > 0


def test_what_is_bought_goes_up_where_purchases_count(client: httpx.Client) -> None:
    by_any, by_purchases = slate(client), slate(client, objectives={"click": 1, "buy": 20})
    assert [item["score"] for item in by_purchases] == pytest.approx(
        [item["probabilities"]["click"] + 20 * item["probabilities"]["buy"] for item in by_purchases], rel=1e-5
    )
    assert [item["score"] for item in by_purchases] == sorted((item["score"] for item in by_purchases), reverse=True)
    # Items are the more often bought given a click, the less often they are clicked.
    before, after = (sum(item["item_id"] for item in items[:5]) for items in (by_any, by_purchases))
    assert after < before
    scores = client.post(
        "/v1/score", json={"user_id": "new", "item_ids": [1], "objectives": {"click": 1, "buy": 20}}
    ).json()["scores"]
    assert scores == [pytest.approx(next(item["score"] for item in by_purchases if item["item_id"] == 1), rel=1e-5)]


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({"bye": 1}, "unknown objective 'bye': did you mean 'buy'? known are click, buy, buy.value"),
        ({"click.value": 1}, "known are click, buy, buy.value"),
        ({"buy": -1}, "$.objectives[...]"),
        ({"buy": "much"}, "$.objectives[...]"),
        (["buy"], "$.objectives"),
    ],
)
@pytest.mark.parametrize("route", ["recommend", "score"])
def test_what_nobody_can_weigh_is_refused(client: httpx.Client, route: str, objectives: object, message: str) -> None:
    body = {"user_id": "new", "objectives": objectives, **({"k": 3} if route == "recommend" else {"item_ids": [1]})}
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_the_description_names_what_may_be_weighed(client: httpx.Client) -> None:
    schemas = client.get("/schema").json()["components"]["schemas"]
    for request in ("RecommendRequest", "ScoreRequest"):
        weights = schemas[request]["properties"]["objectives"]["anyOf"][0]
        assert weights["propertyNames"] == {"enum": ["click", "buy", "buy.value"]}
