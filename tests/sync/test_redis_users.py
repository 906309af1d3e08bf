"""Users in Redis: who is who, how long they stay, and that a loss is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from stream_reco.sync.redis_link import RedisFailure, RedisLink
from stream_reco.sync.redis_users import Found, RedisUsers

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def users(redis_server: RedisServer) -> Iterator[RedisUsers]:
    with RedisLink(redis_server.url) as link:
        yield RedisUsers(link)


def test_integers_and_texts_are_different_users(users: RedisUsers) -> None:
    ids: list[int | str] = [5, "5", -5, "-5", 2**63 - 1, -(2**63), "", "ä b\n", "{x}", "*", "integer:5", "u" * 512]
    users.put_many({user: b"state of %d" % number for number, user in enumerate(ids)})
    assert [users.get(user).state for user in ids] == [b"state of %d" % number for number in range(len(ids))]


def test_the_last_write_wins_and_a_forgotten_user_is_gone(users: RedisUsers) -> None:
    users.put_many({"u": b"1", "v": b"1"})
    users.put_many({"u": b"2"})
    assert users.get("u").state == b"2"
    assert users.forget("u")
    assert not users.forget("u")
    assert (users.get("u").state, users.get("v").state) == (None, b"1")
    users.put_many({})


def test_more_users_than_go_at_once(users: RedisUsers) -> None:
    users.put_many({number: b"%d" % number for number in range(1_201)})
    assert [users.get(number).state for number in (0, 499, 500, 1_200)] == [b"0", b"499", b"500", b"1200"]


def test_they_leave_when_nothing_comes_any_more(redis_server: RedisServer, users: RedisUsers) -> None:
    users.put_many({"u": b"1"})
    (key,) = redis_server.do("KEYS", "*:user:*")
    assert key.startswith(b"{stream-reco}:user:")
    assert 89 * 86_400 < redis_server.do("TTL", key) <= 90 * 86_400
    with RedisLink(redis_server.url) as link:
        short = RedisUsers(link, ttl_days=1e-9)
        short.put_many({"v": b"1"})
        assert short.get("v").state == b"1"
        time.sleep(1.1)
        assert short.get("v").state is None


def test_other_prefixes_are_other_users(redis_server: RedisServer, users: RedisUsers) -> None:
    with RedisLink(redis_server.url) as link:
        RedisUsers(link, "other").put_many({"u": b"1"})
    assert users.get("u").state is None


def test_a_flush_is_noticed_by_every_writer(redis_server: RedisServer, users: RedisUsers) -> None:
    assert users.get("u") == Found(None, False)
    assert not users.has_mark("3")
    users.put_many({"u": b"1"})
    users.mark("3")
    assert users.has_mark("3")
    assert not users.has_mark("4")
    assert users.get("nobody") == Found(None, True)
    redis_server.do("FLUSHALL")
    assert not users.has_mark("3")
    assert users.get("u") == Found(None, False)


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_redis_that_is_away_is_told_within_the_timeout(start_redis: Callable[..., RedisServer], way: str) -> None:
    server = start_redis()
    with RedisLink(server.url, timeout_seconds=0.05) as link:
        users = RedisUsers(link)
        users.put_many({"u": b"1"})
        getattr(server, way)()
        asked: list[Callable[[], object]] = [
            lambda: users.get("u"), lambda: users.put_many({"u": b"2"}), lambda: users.forget("u"),
            lambda: users.mark("1"), lambda: users.has_mark("1"),
        ]  # fmt: skip
        for ask in asked:
            started = time.monotonic()
            with pytest.raises(RedisFailure):
                ask()
            assert time.monotonic() - started < 0.5
        if way == "kill":
            server.start()
            assert users.get("u") == Found(None, False)
        else:
            server.resume()
            assert users.get("u").state in (b"1", b"2", None)  # what hung was done when it went on
