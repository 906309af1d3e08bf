"""What `stream-reco doctor` says of a Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stream_reco.cli.doctor import servers
from stream_reco.cli.doctor.machine import Finding
from stream_reco.config import Settings
from stream_reco.config.servers import RedisSettings
from stream_reco.redis import connection
from tests.cli.test_commands import stream_reco
from tests.redis_server import RedisServer


def findings(url: str, password: str | None = None) -> list[Finding]:
    return servers.check_redis(Settings(redis=RedisSettings(url=url, password=password)))


@pytest.mark.redis
def test_one_that_is_well(redis_server: RedisServer) -> None:
    status, output, complaint = stream_reco("doctor", STREAM_RECO_REDIS_URL=redis_server.url)
    assert (status, complaint) == (0, "")
    assert f"at redis://127.0.0.1:{redis_server.port}/0" in output
    assert "✓ Redis memory: maxmemory-policy noeviction" in output


@pytest.mark.redis
@pytest.mark.parametrize(("policy", "state"), [("allkeys-lru", "warning"), ("volatile-lru", "good")])
def test_what_it_may_evict(start_redis: Callable[..., RedisServer], policy: str, state: str) -> None:
    server = start_redis("--maxmemory-policy", policy)
    found = findings(server.url)
    assert [(one.state, one.what) for one in found] == [("good", "Redis"), (state, "Redis memory")]
    assert policy in found[1].text


@pytest.mark.redis
def test_who_may_not_ask_is_told_nothing(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis("--rename-command", "CONFIG", "")
    assert [one.what for one in findings(server.url)] == ["Redis"]


@pytest.mark.redis
def test_a_wrong_password_is_named_and_not_shown(start_redis: Callable[..., RedisServer]) -> None:
    hush = "-".join(["hush"] * 3)
    server = start_redis("--requirepass", hush)
    assert findings(server.url, hush)[0].state == "good"
    (bad,) = findings(server.url, hush + "x")
    assert bad.state == "bad"
    assert hush not in bad.text
    (bad,) = findings(server.url)
    assert bad.state == "bad"


def test_away_and_misspelt() -> None:
    status, output, complaint = stream_reco("doctor", STREAM_RECO_REDIS_URL="redis://127.0.0.1:9")
    assert (status, complaint) == (1, "stream-reco: 1 problem\n")
    assert "✗ Redis: Redis at redis://127.0.0.1:9/0 unreachable" in output
    (bad,) = findings("redis://h/nothing")
    assert (bad.state, bad.what) == ("bad", "Redis")
    assert "number of a database" in bad.text


@pytest.mark.parametrize(("version", "state"), [("6.0.16", "bad"), ("6.2.0", "good"), ("10.1", "good"), ("", "bad")])
def test_versions(monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    def call(_: object, *command: object) -> Any:
        return {"redis_version": version} if command[0] == "INFO" else {}

    monkeypatch.setattr(connection.RedisLink, "call", call)
    assert [one.state for one in findings("redis://h")] == [state]
