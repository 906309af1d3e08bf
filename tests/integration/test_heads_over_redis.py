"""A scorer that follows a trainer over Redis says of every kind of action what the loop in one process says."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.embedded.user_context import user_contexts
from stream_reco.events import Action
from stream_reco.redis.connection import RedisLink
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import ScoredItems
from stream_reco.sync.redis.channel import RedisChannel
from tests.learner.shop_of_kinds import ITEMS, ShopOfKinds
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

SETTINGS = Settings()


def same(one: ScoredItems, other: ScoredItems) -> bool:
    pairs = [
        (one.scores, other.scores),
        *((one.probabilities[kind], other.probabilities[kind]) for kind in one.probabilities),
        *((one.values[kind], other.values[kind]) for kind in one.values),
    ]
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_heads_travel_with_deltas_and_snapshots(redis_server: RedisServer) -> None:
    log = ShopOfKinds().log(900)
    clicks = [event for event in log[:300] if not (isinstance(event, Action) and event.action == "buy")]
    learner, served, late = Learner(SETTINGS), *(ServingState(SETTINGS.model, SETTINGS.signals) for _ in range(2))
    with closing(RedisLink(redis_server.url)) as link, closing(RedisLink(redis_server.url)) as other:
        channel = RedisChannel(link)
        publishing = Publishing(learner, SETTINGS, 1, channel)
        contexts = user_contexts(learner, 0)
        scorers = [
            Scorer(one, contexts, SETTINGS.retrieve, SETTINGS.slate, 0) for one in (publishing.served, served, late)
        ]
        for number, events in enumerate((clicks, log[300:600], log[600:])):
            learner.learn(events)
            publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
            assert served.replica.poll(RedisChannel(other))
            now, request = learner.state.stream_time, Request(1, objectives={"click": 1.0})
            ours, theirs = (scorer.predict(request, range(ITEMS), now) for scorer in scorers[:2])
            assert list(ours.probabilities) == (["click", "buy"] if number else ["click"])
            assert list(ours.values) == (["buy"] if number else [])
            assert same(ours, theirs)
        # One that joins late begins with a snapshot.
        while not late.replica.version:
            late.replica.poll(RedisChannel(other))
            publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
        assert same(scorers[0].predict(request, range(ITEMS), now), scorers[2].predict(request, range(ITEMS), now))
        for scorer in scorers:
            scorer.close()
