"""A scorer whose settings name another model than the trainer's: it serves nothing of it, and says why."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.model.settings import ModelSettings
from stream_reco.redis.connection import RedisLink
from stream_reco.simulate import generate
from stream_reco.sync.redis.channel import RedisChannel
from tests.integration.scorer import ScorerProcess
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]


def test_it_refuses_the_publications_by_name(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = replace(Settings(), model=ModelSettings("bpr"))
    learner = Learner(settings)
    learner.learn(list(generate(500, 0, users=20, items=30)))
    with closing(RedisLink(redis_server.url)) as link:
        Publishing(learner, settings, 1, RedisChannel(link)).sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
        follower = ScorerProcess(redis_server.url, tmp_path / "bpr", {"MODEL_NAME": "bpr"})
        other = ScorerProcess(redis_server.url, tmp_path / "other", {})
        try:
            other.wait_for("publication is of model 'bpr', replica of 'two_tower_dcn'; version 0 is served on", 120)
            status, answer = other.ask("GET", "/health/ready")
            assert status == 503, answer
            _, facts = other.ask("GET", "/v1/status")
            assert isinstance(facts, dict)
            assert facts["problem"] == "publication is of model 'bpr', replica of 'two_tower_dcn'"
            follower.wait_until_it_recommends()
        finally:
            follower.kill()
            other.kill()
