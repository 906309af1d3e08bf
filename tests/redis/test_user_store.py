"""Users in Redis: who is who, how long they stay, and that a loss is noticed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from stream_reco.redis.connection import RedisFailure, RedisLink
from stream_reco.redis.user_store import RedisUsers, StoredUser

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
    assert key == b"stream-reco:user:text:u"
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


def write(users: RedisUsers, states: dict[int | str, bytes | None], number: int, writer: str = "3") -> bool:
    """In a numbered write, as a writer that has just looked."""
    return users.put_numbered(states, writer, users.ages(writer), number)


def test_a_flush_is_noticed_by_every_writer(redis_server: RedisServer, users: RedisUsers) -> None:
    assert users.get("u") == StoredUser(None, False)
    assert set(users.ages("3")) == {0}
    assert write(users, {"u": b"1"}, 7)
    assert set(users.ages("3")) == {7}
    assert set(users.ages("4")) == {0}
    assert users.get("nobody") == StoredUser(None, True)
    redis_server.do("FLUSHALL")
    assert set(users.ages("3")) == {0}
    assert users.get("u") == StoredUser(None, False)


def test_a_write_after_one_that_was_lost_is_told(users: RedisUsers) -> None:
    assert write(users, {"u": b"1", "v": b"1"}, 5)
    held = users.ages("3")
    assert users.put_numbered({"u": b"2", "v": None}, "3", held, 6)
    assert (users.get("u").state, users.get("v").state) == (b"2", None)
    assert not users.put_numbered({"u": b"3"}, "3", held, 7), "it is not what was held any more"
    assert set(users.ages("3")) == {6}, "and the number stays"
    assert users.begin_all("3", 8) == users.ages("3") == [-8] * len(held)
    assert write(users, {}, 9)
    assert set(users.ages("3")) == {9}


def test_the_marks_of_earlier_releases_are_numbers(redis_server: RedisServer, users: RedisUsers) -> None:
    assert write(users, {}, 1)
    for mark in redis_server.do("KEYS", "stream-reco:users:*"):
        redis_server.do("HSET", mark, "3 begun", 1)
    assert set(users.ages("3")) == {1}
    users.begin_all("3", 2)
    assert not any(redis_server.do("HEXISTS", mark, "3 begun") for mark in redis_server.do("KEYS", "*:users:*"))


def test_a_snapshot_that_is_restored_is_older(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with RedisLink(server.url) as link:
        users = RedisUsers(link)
        assert write(users, {"u": b"1", "gone": b"1"}, 5)
        server.do("SAVE")
        held = users.ages("3")
        assert users.put_numbered({"u": b"2", "gone": None}, "3", held, 6)
        server.kill()
        server.start()
        assert users.get("gone").state == b"1"
        assert users.ages("3") == held == [5] * len(held)
        assert not users.put_numbered({"u": b"3"}, "3", [6] * len(held), 7)


@pytest.fixture
def nodes(start_redis: Callable[..., RedisServer]) -> list[RedisServer]:
    """A cluster of three."""
    servers = [start_redis("--cluster-enabled", "yes", "--cluster-node-timeout", "2000") for _ in range(3)]
    for number, (server, first) in enumerate(zip(servers, (0, 5461, 10923), strict=True)):
        server.do("CLUSTER", "ADDSLOTSRANGE", first, (5460, 10922, 16383)[number])
        server.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for server in servers[1:]:
        servers[0].do("CLUSTER", "MEET", "127.0.0.1", server.port)
    deadline = time.monotonic() + 30
    while not all(
        re.search(rb"cluster_state:ok.*cluster_known_nodes:3", server.do("CLUSTER", "INFO"), re.DOTALL)
        for server in servers
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return servers


def test_in_a_cluster_users_are_spread_and_each_node_tells_its_loss(nodes: list[RedisServer]) -> None:
    some: list[int | str] = [*range(1_200), "{x}", "}{", "{}", "ä"]
    with RedisLink(f"redis+cluster://127.0.0.1:{nodes[0].port}") as link:
        users = RedisUsers(link, "shop")
        assert users.get("nobody") == StoredUser(None, False)
        users.put_many({user: b"%d" % number for number, user in enumerate(some)})
        assert write(users, {}, 7)
        assert set(users.ages("3")) == {7}
        assert [users.get(user).state for user in some] == [b"%d" % number for number in range(len(some))]
        held = [node.do("KEYS", "shop:user:*") for node in nodes]
        assert sum(map(len, held)) == len(some)
        assert min(map(len, held)) > len(some) / 5, [len(keys) for keys in held]
        assert users.forget("{x}")
        assert users.get("{x}") == StoredUser(None, True)
        nodes[1].do("FLUSHALL")
        assert set(users.ages("3")) == {0, 7}
        assert not users.put_numbered({"v": b"1"}, "3", [7] * len(users.ages("3")), 8)
        lost = {key.rpartition(b":")[2].decode() for key in held[1]}
        found = {user: users.get(user) for user in range(1_200)}
        assert {str(user) for user, one in found.items() if one.state is None} == lost & set(map(str, range(1_200)))
        assert not any(one.complete for one in found.values() if one.state is None)
        assert write(users, {}, 9)
        assert set(users.ages("3")) == {9}


def test_a_node_that_is_away_costs_the_others_nothing(nodes: list[RedisServer]) -> None:
    with RedisLink(f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout_seconds=0.2) as link:
        users = RedisUsers(link)
        users.put_many(dict.fromkeys(range(30), b"1"))
        nodes[2].pause()
        answers, began = [], time.monotonic()
        for user in range(30):
            try:
                answers.append(users.get(user).state)
            except RedisFailure:
                answers.append(None)
        assert time.monotonic() - began < 20
        assert answers.count(b"1") > 10
        assert None in answers
        nodes[2].resume()


def test_users_need_rights_to_their_own_keys_alone(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    rights = ("+@read", "+@write", "+@scripting", "+@connection")
    server.do("ACL", "SETUSER", "app", "on", ">secret", "~{shop}:*", "~shop:*", *rights)
    with RedisLink(f"redis://app:secret@127.0.0.1:{server.port}") as link:
        users = RedisUsers(link, "shop")
        users.put_many({"u": b"1"})
        users.begin_all("3", 1)
        assert write(users, {"w": b"1", "u": None}, 2)
        assert users.get("v") == StoredUser(None, True)


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_redis_that_is_away_is_told_within_the_timeout(start_redis: Callable[..., RedisServer], way: str) -> None:
    server = start_redis()
    with RedisLink(server.url, timeout_seconds=0.05) as link:
        users = RedisUsers(link)
        users.put_many({"u": b"1"})
        getattr(server, way)()
        asked: list[Callable[[], object]] = [
            lambda: users.get("u"),
            lambda: users.put_many({"u": b"2"}),
            lambda: users.forget("u"),
            lambda: users.begin_all("1", 1),
            lambda: users.ages("1"),
            lambda: users.put_numbered({}, "1", [0] * 64, 1),
        ]
        for ask in asked:
            started = time.monotonic()
            with pytest.raises(RedisFailure):
                ask()
            assert time.monotonic() - started < 0.5
        if way == "kill":
            server.start()
            assert users.get("u") == StoredUser(None, False)
        else:
            server.resume()
            assert users.get("u").state in (b"1", b"2", None)  # what hung was done when it went on
