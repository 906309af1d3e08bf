"""A running server builds the lists of its vector index by itself, and says over HTTP how well they find."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.threads.service import EngineService
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer
from stream_reco.serve.settings import ServeSettings
from tests.learner.shop_of_kinds import ITEMS, ShopOfKinds

LOG = ShopOfKinds().log(1_500)
SETTINGS = Settings(retrieve=RetrieveSettings(exact_below=ITEMS // 2))
TIMEOUT = 240.0
"""Seconds that a test waits for a thread; kernels may have to be compiled first."""


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    clock = ManualClock(LOG[-1].timestamp)

    def learned() -> Engine:
        engine = Engine(settings=SETTINGS, clock=clock)
        engine.ingest(LOG)
        engine.sync()
        assert not engine.publishing.served.index.built  # an engine alone has none: its answers follow its log
        return engine

    service = EngineService(learned, clock=clock)
    service.start()
    service.opened.result(TIMEOUT)
    try:
        with HttpServer("127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
            server.start(Api(service, clock, ServeSettings()))
            yield client
    finally:
        service.close()


def metric(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^stream_reco_{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_lists_are_built_and_compared_in_a_running_server(client: httpx.Client) -> None:
    compared, by_lists = 'vector_comparisons_total{outcome="done"}', 'vector_searches_total{way="lists"}'
    before = {name: metric(client, name) for name in (compared, by_lists)}
    deadline = time.monotonic() + TIMEOUT
    while metric(client, compared) < before[compared] + 5 or metric(client, by_lists) < before[by_lists] + 5:
        assert time.monotonic() < deadline, client.get("/metrics").text
        answer = client.post("/v1/recommend", json={"user_id": 1, "k": 5})
        assert len(answer.json()["items"]) == 5
        time.sleep(0.05)
    assert metric(client, 'vector_builds_total{outcome="done"}') >= 1
    assert metric(client, "vectors") >= ITEMS // 2
    assert metric(client, "vector_list_bytes") > 0
    assert 0.9 < metric(client, "vector_recall") <= 1.0
