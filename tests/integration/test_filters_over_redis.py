"""Item events, merged by the trainer, are filtered by a scorer over Redis as by the loop in one process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.events import Event, Id, decode
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.redis.connection import RedisLink
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.request import Request, UserContext
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.settings import SignalSettings
from stream_reco.sync.redis.channel import RedisChannel
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

NOW = 1_760_000_000_000
NO_SLOTS, NO_KEYS = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
SETTINGS = Settings(
    model=ModelSettings(
        settings=TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=2, context_dim=2, cross_rank=4, hidden=8)
    )
)
FILTERS: Sequence[Mapping[str, Any] | None] = (
    None,
    {"kind": "tea"},
    {"kind": ["tea", "mug"], "price": {"gte": 4, "lt": 8}},
    {"price": {"not": {"lt": 5}}},
    {"tags": "new"},
    {"tags": {"exists": False}},
    {"since": {"gt": "2026-01-02T00:00:00Z"}},
)


def event(item: Id, at: int, **fields: Any) -> Event:
    return decode(json.dumps({"type": "item", "item_id": item, "timestamp": NOW + at, **fields}).encode())


def described() -> list[Event]:
    """Thirty items in three kinds, then a few changes of each sort."""
    return [
        event(item, item, features={"kind": ("tea", "mug", "pot")[item % 3], "price": item % 10, "tags": ["old"]})
        for item in range(30)
    ]


def changed() -> list[Event]:
    return [
        event(0, 100, features={"price": 99}),
        event(3, 101, available=False),
        event(6, 102, features={"tags": None, "since": "2026-01-03"}),
        event(9, 103, features={"kind": "mug"}, replace=True),
        event(12, 104, features={"tags": ["new", "old"], "since": "2026-01-01"}),
        event(12, 50, features={"price": 7, "tags": ["late"]}),
        event("new", 105, features={"kind": "tea", "price": 4}),
    ]


WANTED = {
    "None": {*range(30), "new"} - {3},
    "{'kind': 'tea'}": {*range(0, 30, 3), "new"} - {3, 9},
    "{'tags': 'new'}": {12},
    "{'tags': {'exists': False}}": {6, 9, "new"},
    "{'since': {'gt': '2026-01-02T00:00:00Z'}}": {6},
}


@pytest.fixture
def replica(redis_server: RedisServer) -> Iterator[tuple[Learner, Publishing, ServingState, RedisChannel]]:
    learner = Learner(SETTINGS)
    served = ServingState(SETTINGS.model, SignalSettings())
    with closing(RedisLink(redis_server.url)) as link, closing(RedisLink(redis_server.url)) as other:
        yield learner, Publishing(learner, SETTINGS, 1, RedisChannel(link)), served, RedisChannel(other)


def test_a_scorer_over_redis_filters_as_one_process(
    replica: tuple[Learner, Publishing, ServingState, RedisChannel],
) -> None:
    learner, publishing, served, channel = replica
    recent, times = learner.state.present.recent(-1)
    stranger = UserContext(1, recent.copy(), times.copy(), NO_SLOTS, NO_KEYS)
    scorer = Scorer(served, lambda _user, _now: stranger, RetrieveSettings(), SlateSettings(), 0)
    with closing(scorer), Engine(None, SETTINGS, clock=ManualClock(NOW + 1000)) as engine:
        for events in (described(), changed()):
            learner.learn(events)
            publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
            assert served.replica.poll(channel)
            assert engine.ingest(events).accepted == len(events)
            engine.sync()
            for filters in FILTERS:
                request = Request("stranger", 50, filters=filters)
                far = {one.item_id for one in scorer.recommend_many([request], NOW)[0].items}
                near = {one.item_id for one in engine.recommend("stranger", 50, filters=filters).items}
                assert far == near, filters
        for filters in FILTERS:
            if str(filters) in WANTED:
                found = engine.recommend("stranger", 50, filters=filters).items
                assert {one.item_id for one in found} == WANTED[str(filters)], filters
