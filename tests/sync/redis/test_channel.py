"""What only the channel over Redis does: bounds, registered replicas, chunks, and a Redis that is away or empty."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis

from stream_reco import metrics
from stream_reco.redis.connection import RedisLink
from stream_reco.sync import (
    BadPublication,
    Channel,
    ChannelRefused,
    ChannelUnreachable,
    Delivery,
    Publication,
    Replica,
    encode,
)
from stream_reco.sync.redis.channel import Bounds, RedisChannel
from tests.sync.redis.failing_link import Failing, at_commit
from tests.sync.same_publication import same

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.sync.conftest import Toy

pytestmark = pytest.mark.redis
Connect = Callable[..., RedisChannel]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A channel of a server, as a process of its own would have it."""
    links: list[RedisLink] = []

    def one(server: RedisServer, reader: str = "", *, timeout: float = 1.0, **bounds: Any) -> RedisChannel:
        links.append(RedisLink(server.url, timeout_seconds=timeout))
        return RedisChannel(links[-1], reader=reader, bounds=Bounds(**({"chunk": 200} | bounds)))

    yield one
    for link in links:
        link.close()


def versions(deliveries: list[Delivery]) -> list[int]:
    return [one.publication.version for one in deliveries if isinstance(one.publication, Publication)]


def reasons(deliveries: list[Delivery]) -> list[str]:
    return [one.publication.reason for one in deliveries if isinstance(one.publication, BadPublication)]


def keys(server: RedisServer, pattern: str = "*") -> list[bytes]:
    return sorted(server.do("KEYS", pattern))


def send_all(channel: Channel, toy: Toy, first: int, last: int, snapshot: int = 1) -> None:
    for version in range(first, last + 1):
        channel.send(toy.publication(version, 0 if version == snapshot else version - 1))


# --- what is kept


def test_all_keys_share_one_slot_of_a_cluster(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    channel = connect(redis_server, "a")
    channel.send(toy.publication(1, 0))
    channel.read("", 1)
    channel.ask_for_snapshot()
    assert len(keys(redis_server)) > 5
    assert all(key.startswith(b"{stream-reco}:") for key in keys(redis_server))


def test_it_keeps_no_more_bytes_than_it_may_but_always_the_newest(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    one = len(encode(toy.publication(9, 8)))
    channel = connect(redis_server, nbytes=3 * one)
    send_all(channel, toy, 1, 9)
    assert versions(channel.read("", 100)) == [7, 8, 9]
    kept = sum(redis_server.do("STRLEN", key) for key in keys(redis_server, "*:chunk:*"))
    assert kept <= 3 * one
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_bytes") == kept
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_publications") == 3
    large = toy.publication(10, 9, dense={"w": np.zeros(one)})
    channel.send(large)
    (left,) = channel.read("", 100)
    assert isinstance(left.publication, Publication)
    assert same(left.publication, large)


def test_a_snapshot_frees_all_before_it_and_their_chunks(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    channel = connect(redis_server)
    send_all(channel, toy, 1, 5)
    before = keys(redis_server, "*:chunk:*")
    channel.send(toy.publication(6, 0))
    after = keys(redis_server, "*:chunk:*")
    assert not set(before) & set(after)
    assert redis_server.do("XLEN", "{stream-reco}:publications") == 1
    assert all(6 * 86_400 < redis_server.do("TTL", key) <= 7 * 86_400 for key in after)


def test_what_every_registered_replica_has_read_is_let_go_of(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    trainer, fast, slow = connect(redis_server), connect(redis_server, "fast"), connect(redis_server, "slow")
    assert fast.read("", 10) == slow.read("", 10) == []
    send_all(trainer, toy, 1, 6)
    assert versions(connect(redis_server).read("", 100)) == [1, 2, 3, 4, 5, 6]
    slow.read(slow.read("", 4)[-1].cursor, 1)
    fast.read("1-6", 1)
    trainer.send(toy.publication(7, 6))
    assert versions(connect(redis_server).read("", 100)) == [5, 6, 7]
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_replicas") == 2
    assert metrics.REGISTRY.get_sample_value("stream_reco_channel_unread_publications") == 3
    slow.leave()
    trainer.send(toy.publication(8, 7))
    assert versions(connect(redis_server).read("", 100)) == [7, 8]


def test_a_snapshot_stays_for_newcomers_while_what_follows_it_is_no_more(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    trainer, replica = connect(redis_server), connect(redis_server, "a")
    weights = np.zeros(1_000)
    trainer.send(toy.publication(1, 0, dense={"w": weights}))
    for version in (2, 3, 4):
        replica.read(f"1-{version - 1}", 1)
        trainer.send(toy.publication(version, version - 1))
    assert versions(connect(redis_server).read("", 100)) == [1, 2, 3, 4]
    replica.read("1-4", 1)
    trainer.send(toy.publication(5, 4, dense={"w": weights}))
    assert versions(connect(redis_server).read("", 100)) == [5]


def test_who_does_not_read_any_more_is_not_waited_for(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    bounds: dict[str, Any] = {"reader_seconds": 0.3}
    trainer = connect(redis_server)
    gone, there = connect(redis_server, "gone", **bounds), connect(redis_server, "there", **bounds)
    gone.read("", 1)
    send_all(trainer, toy, 1, 4)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        there.read("1-4", 1)
        time.sleep(0.02)
    trainer.send(toy.publication(5, 4))
    assert versions(connect(redis_server).read("", 100)) == [5]
    assert redis_server.do("SMEMBERS", "{stream-reco}:replicas") == {b"there"}


def test_who_falls_behind_the_bounds_sees_a_gap_and_gets_a_snapshot(
    redis_server: RedisServer, connect: Connect, toy: Toy, rng: np.random.Generator
) -> None:
    trainer, notes = toy.trainer(), toy.notes()
    sender, reader = connect(redis_server, publications=3), connect(redis_server, "a")
    replica = Replica("m", {"dense": notes})
    for number in range(8):
        trainer.learn(rng)
        trainer.publisher.publish(sender, trainer.collect)
        trainer.remember()
        if not number:
            replica.poll(reader)
    assert redis_server.do("XLEN", "{stream-reco}:publications") == 3
    replica.poll(reader)
    assert (replica.version, replica.waiting) == (1, True)
    assert trainer.publisher.publish(sender, trainer.collect).snapshot
    trainer.remember()
    replica.poll(reader)
    assert (replica.version, replica.waiting) == (9, False)
    assert toy.served(replica, notes) == trainer.published[(1, 9)]


@pytest.mark.parametrize("bound", ["publications", "nbytes", "chunk", "reader_seconds"])
def test_a_bound_of_nothing_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match=f"{bound} is 0"):
        Bounds(**{bound: 0})


# --- chunks


def test_a_read_ends_where_it_has_much_and_goes_on_next_time(
    redis_server: RedisServer, connect: Connect, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = connect(redis_server)
    send_all(channel, toy, 1, 5)
    monkeypatch.setattr("stream_reco.sync.redis.channel._READ_BYTES", 2 * len(encode(toy.publication(1, 0))) - 1)
    first = channel.read("", 100)
    assert versions(first) == [1, 2]
    assert versions(channel.read(first[-1].cursor, 100)) == [3, 4]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (("SETRANGE", "{chunk}", 17, "x"), "checksum"),
        (("SETRANGE", "{chunk}", 200, "longer"), "checksum"),
        (("SET", "{chunk}", ""), "checksum"),
        (("DEL", "{chunk}"), "missing"),
    ],
)
@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_torn_chunk_is_told_and_what_follows_is_read(
    redis_server: RedisServer, connect: Connect, toy: Toy, harm: tuple[str | int, ...], reason: str, number: int
) -> None:
    channel = connect(redis_server)
    send_all(channel, toy, 1, 3)
    chunks = sorted(keys(redis_server, "*:chunk:1.2.*"), key=lambda key: int(key.rpartition(b":")[2]))
    chunk = chunks[number].decode()
    redis_server.do(*(chunk if part == "{chunk}" else part for part in harm))
    deliveries = channel.read("", 10)
    assert (versions(deliveries), reasons(deliveries)) == ([1, 3], [reason])
    replica = Replica("m")
    replica.poll(channel)
    assert (replica.version, replica.waiting) == (1, True)
    assert channel.snapshot_wanted()


@pytest.mark.parametrize(
    "fields",
    [
        ("a", "b"),
        ("blob", "x", "chunks", "many", "bytes", 1, "base", 0, "model", "m", "sums", "s" * 16),
        ("blob", "x", "chunks", 0, "bytes", 1, "base", 0, "model", "m", "sums", ""),
        ("blob", "x", "chunks", 3, "bytes", 1, "base", 0, "model", "m", "sums", "s" * 16),
        ("blob", b"\xff", "chunks", 1, "bytes", 1, "base", 0, "model", "m", "sums", "s" * 16),
    ],
)
def test_an_entry_of_somebody_else_is_told_and_harms_nobody(
    redis_server: RedisServer, connect: Connect, toy: Toy, fields: tuple[bytes | str | int, ...]
) -> None:
    channel = connect(redis_server)
    channel.send(toy.publication(1, 0))
    redis_server.do("XADD", "{stream-reco}:publications", "1-2", *fields)
    deliveries = channel.read("", 10)
    assert (versions(deliveries), reasons(deliveries)) == ([1], ["format"])
    channel.send(toy.publication(3, 2))
    channel.send(toy.publication(4, 0))
    assert versions(channel.read("", 10)) == [4]


def test_an_entry_under_a_wrong_number_is_none(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    channel = connect(redis_server)
    channel.send(toy.publication(1, 0))
    ((_, fields),) = redis_server.do("XRANGE", "{stream-reco}:publications", "-", "+")
    redis_server.do("XADD", "{stream-reco}:publications", "1-2", *(part for pair in fields.items() for part in pair))
    assert reasons(channel.read("1-1", 10)) == ["format"]


@pytest.fixture
def failing(redis_server: RedisServer) -> Iterator[Failing]:
    with Failing(redis_server.url) as link:
        yield link


def at_chunk(number: int) -> Callable[[tuple[Any, ...]], bool]:
    return lambda command: command[0] == "SET" and str(command[1]).endswith(f":{number}")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_what_fails_half_way_is_refused_and_never_seen(
    redis_server: RedisServer, failing: Failing, toy: Toy, number: int, after: bool
) -> None:
    channel = RedisChannel(failing, bounds=Bounds(chunk=200))
    channel.send(toy.publication(1, 0))
    before = keys(redis_server, "*:chunk:*")
    failing.at, failing.after = at_chunk(number), after
    for _ in range(2):
        with pytest.raises(ChannelRefused):
            channel.send(toy.publication(2, 0))
    assert versions(channel.read("", 10)) == [1]
    assert keys(redis_server, "*:chunk:*") == before
    failing.at = lambda _: False
    channel.send(toy.publication(2, 0))
    assert versions(channel.read("", 10)) == [2]


def test_chunks_of_a_trainer_that_died_leave_by_themselves(
    redis_server: RedisServer, failing: Failing, toy: Toy
) -> None:
    channel = RedisChannel(failing, bounds=Bounds(chunk=200))
    failing.at = lambda command: at_chunk(2)(command) or command[0] == "UNLINK"
    with pytest.raises(ChannelRefused):
        channel.send(toy.publication(1, 0))
    left = keys(redis_server, "*:chunk:*")
    assert len(left) == 2
    assert all(0 < redis_server.do("TTL", key) <= 600 for key in left)


def test_chunks_that_are_lost_before_they_are_seen_are_never_seen(
    redis_server: RedisServer, failing: Failing, toy: Toy
) -> None:
    channel = RedisChannel(failing, bounds=Bounds(chunk=200))

    def lose(command: tuple[Any, ...]) -> bool:
        if at_commit(command):
            redis_server.do("DEL", keys(redis_server, "*:chunk:*")[0])
        return False

    failing.at = lose
    with pytest.raises(ChannelRefused, match="no longer there"):
        channel.send(toy.publication(1, 0))
    assert channel.read("", 10) == []
    assert not keys(redis_server, "*:chunk:*")


@pytest.mark.parametrize("after", [False, True])
def test_where_the_answer_to_the_last_step_is_lost_the_outcome_is_unknown(
    failing: Failing, toy: Toy, after: bool
) -> None:
    channel = RedisChannel(failing, bounds=Bounds(chunk=200))
    failing.at, failing.after = at_commit, after
    with pytest.raises(ChannelUnreachable, match="is unknown"):
        channel.send(toy.publication(1, 0))
    assert versions(channel.read("", 10)) == [1] * after


def test_what_redis_says_it_did_not_do_is_refused(failing: Failing, toy: Toy) -> None:
    channel = RedisChannel(failing)
    failing.at, failing.error = at_commit, redis.OutOfMemoryError("OOM command not allowed")
    with pytest.raises(ChannelRefused, match="OOM"):
        channel.send(toy.publication(1, 0))


def test_a_redis_without_room_refuses(start_redis: Callable[..., RedisServer], connect: Connect, toy: Toy) -> None:
    server = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    channel = connect(server, chunk=100_000)
    channel.send(toy.publication(1, 0))
    with pytest.raises(ChannelRefused, match="OutOfMemory"):
        channel.send(toy.publication(2, 1, dense={"w": np.zeros(1_000_000)}))
    channel.send(toy.publication(2, 1))
    assert versions(channel.read("", 10)) == [1, 2]


def test_what_cannot_be_encoded_is_refused(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    with pytest.raises(ChannelRefused, match="dtype"):
        connect(redis_server).send(toy.publication(1, 0, dense={"w": np.array(["text"])}))


# --- trainers


def test_a_trainer_of_an_earlier_epoch_disturbs_nobody(redis_server: RedisServer, connect: Connect, toy: Toy) -> None:
    leader, zombie, replica = connect(redis_server), connect(redis_server), Replica("m")
    zombie.send(toy.publication(1, 0, epoch=4))
    replica.poll(connect(redis_server))
    leader.send(toy.publication(1, 0, epoch=5))
    before = keys(redis_server)
    for version, base in ((2, 1), (3, 0)):
        with pytest.raises(ChannelRefused, match="a later epoch has taken over"):
            zombie.send(toy.publication(version, base, epoch=4))
    assert keys(redis_server) == before
    leader.send(toy.publication(2, 1, epoch=5))
    replica.poll(connect(redis_server))
    assert ((replica.epoch, replica.version), replica.waiting) == ((5, 2), False)


def test_a_trainer_that_is_overtaken_between_its_steps_is_refused(
    redis_server: RedisServer, failing: Failing, connect: Connect, toy: Toy
) -> None:
    leader, zombie = connect(redis_server), RedisChannel(failing)

    def overtake(command: tuple[Any, ...]) -> bool:
        if at_commit(command):
            leader.send(toy.publication(1, 0, epoch=5))
        return False

    failing.at = overtake
    with pytest.raises(ChannelRefused, match="equal or smaller"):
        zombie.send(toy.publication(8, 0, epoch=4))
    (left,) = leader.read("", 10)
    assert left.cursor == "5-1"
    assert len({key.split(b":")[2] for key in keys(redis_server, "*:chunk:*")}) == 1


def test_a_trainer_of_an_earlier_epoch_is_refused_even_where_nothing_is_left(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    leader, zombie = connect(redis_server), connect(redis_server)
    leader.send(toy.publication(1, 0, epoch=5))
    redis_server.do("XTRIM", "{stream-reco}:publications", "MAXLEN", 0)
    with pytest.raises(ChannelRefused):
        zombie.send(toy.publication(9, 0, epoch=4))


# --- Redis away, or empty


def test_after_flushall_the_trainer_is_asked_for_everything_and_readers_go_on(
    redis_server: RedisServer, connect: Connect, toy: Toy, rng: np.random.Generator
) -> None:
    trainer, notes = toy.trainer(), toy.notes()
    replica = Replica("m", {"dense": notes})
    sender, reader = connect(redis_server), connect(redis_server, "a")
    kinds = []
    for number in range(6):
        trainer.learn(rng)
        kinds.append(trainer.publisher.publish(sender, trainer.collect).snapshot)
        trainer.remember()
        if number in (2, 3):
            redis_server.do("FLUSHALL")
        replica.poll(reader)
        assert toy.served(replica, notes) == trainer.published[(1, replica.version)]
    assert kinds == [True, False, False, True, True, False]
    assert (replica.version, replica.waiting) == (6, False)


def test_a_redis_that_came_back_with_old_data_is_given_everything(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    channel = connect(redis_server)
    send_all(channel, toy, 1, 3)
    saved = {key: redis_server.do("DUMP", key) for key in keys(redis_server)}
    send_all(channel, toy, 4, 6)
    assert not channel.snapshot_wanted()
    redis_server.do("FLUSHALL")
    for key, value in saved.items():
        redis_server.do("RESTORE", key, 0, value)
    assert channel.snapshot_wanted()
    channel.send(toy.publication(7, 0))
    assert not channel.snapshot_wanted()
    assert versions(channel.read("1-6", 10)) == [7]


def test_after_an_older_snapshot_of_redis_all_replicas_have_the_newest_again(
    start_redis: Callable[..., RedisServer], connect: Connect, toy: Toy, rng: np.random.Generator
) -> None:
    server = start_redis()
    trainer, sender = toy.trainer(), connect(server)
    notes = [toy.notes() for _ in range(3)]
    ahead, behind, new = (Replica("m", {"dense": one}) for one in notes)
    kinds = []

    def publish() -> None:
        trainer.learn(rng)
        kinds.append(trainer.publisher.publish(sender, trainer.collect).snapshot)
        trainer.remember()

    publish()
    publish()
    behind.poll(connect(server))
    server.do("SAVE")
    publish()
    publish()
    ahead.poll(connect(server))
    server.kill()
    server.start()
    for replica, version in ((ahead, 4), (behind, 2), (new, 2)):
        replica.poll(connect(server))
        assert replica.version == version, "nobody goes back"
    publish()
    publish()
    for replica, one in zip((ahead, behind, new), notes, strict=True):
        replica.poll(connect(server))
        assert (replica.version, replica.waiting) == (6, False)
        assert toy.served(replica, one) == trainer.published[(1, 6)]
    assert kinds == [True, False, False, False, True, False]


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_redis_that_is_away_is_told_soon_and_found_again(
    start_redis: Callable[..., RedisServer], connect: Connect, toy: Toy, way: str
) -> None:
    server = start_redis()
    channel = connect(server, "a", timeout=0.5)
    send_all(channel, toy, 1, 2)
    assert versions(channel.read("", 10)) == [1, 2]
    getattr(server, way)()
    asked: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: channel.send(toy.publication(3, 2)), ChannelRefused),
        (lambda: channel.read("1-2", 10), ChannelUnreachable),
        (channel.ask_for_snapshot, ChannelUnreachable),
        (channel.snapshot_wanted, ChannelUnreachable),
    ]
    for ask, error in asked:
        started = time.monotonic()
        with pytest.raises(error):
            ask()
        assert time.monotonic() - started < 2
    started = time.monotonic()
    channel.leave()
    assert time.monotonic() - started < 2
    if way == "kill":
        server.start()
        assert channel.snapshot_wanted()
        assert channel.read("1-2", 10) == []
    else:
        server.resume()
        assert not channel.snapshot_wanted()
        assert versions(channel.read("1-1", 10)) == [2]
    channel.send(toy.publication(3, 0))
    assert versions(channel.read("1-2", 10)) == [3]


def test_a_replica_beside_a_redis_that_comes_and_goes(
    start_redis: Callable[..., RedisServer], connect: Connect, toy: Toy, rng: np.random.Generator
) -> None:
    server, trainer, notes = start_redis(), toy.trainer(), toy.notes()
    sender, reader = connect(server, timeout=0.3), connect(server, "a", timeout=0.3)
    replica = Replica("m", {"dense": notes})
    for round_ in range(12):
        trainer.learn(rng)
        if round_ in (3, 7):
            server.kill()
        if round_ in (5, 8):
            server.start()
        try:
            trainer.publisher.publish(sender, trainer.collect)
        except (ChannelRefused, ChannelUnreachable):
            assert not server.runs
        else:
            trainer.remember()
        replica.poll(reader)
        assert toy.served(replica, notes) == trainer.published[(1, replica.version)]
    assert replica.version == trainer.publisher.version > 5
    assert not replica.waiting


def test_what_was_read_before_redis_went_away_is_given(
    redis_server: RedisServer, failing: Failing, connect: Connect, toy: Toy
) -> None:
    send_all(connect(redis_server), toy, 1, 4)
    channel = RedisChannel(failing)
    failing.at = lambda command: command[0] == "GET" and ":1.3." in command[1]
    assert versions(channel.read("", 10)) == [1, 2]
    with pytest.raises(ChannelUnreachable):
        channel.read("1-2", 10)


def test_what_is_let_go_of_while_it_is_read_is_a_gap_and_no_damage(
    redis_server: RedisServer, connect: Connect, toy: Toy
) -> None:
    last = 150
    seen: list[int] = []
    sender, reader = connect(redis_server, publications=2), connect(redis_server)

    def follow() -> None:
        cursor = ""
        while not seen or seen[-1] < last:
            for one in reader.read(cursor, 5):
                cursor = one.cursor
                assert isinstance(one.publication, Publication)
                seen.append(one.publication.version)
                assert same(one.publication, toy.publication(seen[-1], seen[-1] - 1))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    send_all(sender, toy, 1, last)
    thread.join(20)
    assert not thread.is_alive()
    assert seen == sorted(set(seen))
