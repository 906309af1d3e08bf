"""Every way to a Redis that an address can name: a user with a password, a socket, TLS, sentinels, a cluster."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_reco.config import load
from stream_reco.redis.connection import RedisFailure, RedisLink, RedisRefused, RedisUnreachable
from stream_reco.sync import ChannelRefused, ChannelUnreachable, Publication
from stream_reco.sync.redis.channel import Bounds, RedisChannel
from tests.waiting import until

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.sync.conftest import Toy

pytestmark = pytest.mark.redis
Start = Callable[..., "RedisServer"]
PASSWORD = "correct horse/battery"  # noqa: S105 - of a server that lives for one test
QUOTED = "correct%20horse%2Fbattery"


@pytest.fixture
def link() -> Iterator[Callable[..., RedisLink]]:
    """Makes links that the test need not close."""
    made: list[RedisLink] = []

    def make(url: str, password: str | None = None, timeout: float = 1.0) -> RedisLink:
        made.append(RedisLink(url, password=password, timeout_seconds=timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def carries(link: RedisLink, toy: Toy, version: int = 1) -> None:
    """A snapshot goes over it and back, in several chunks."""
    channel = RedisChannel(link, reader="a", bounds=Bounds(chunk=200))
    channel.ask_for_snapshot()
    channel.send(toy.publication(version, 0))
    assert not channel.snapshot_wanted()
    (entry,) = channel.read("", 10)
    assert isinstance(entry.publication, Publication)
    assert entry.publication.version == version
    channel.leave()


def refusal(link: RedisLink, kind: type[RedisFailure] = RedisRefused) -> str:
    with pytest.raises(kind) as refused:
        link.call("GET", "{stream-reco}:wanted")
    text = f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"
    assert PASSWORD not in text
    assert QUOTED not in text
    assert refused.value.__suppress_context__
    return str(refused.value)


def test_a_user_who_may_only_use_our_keys(start_redis: Start, link: Callable[..., RedisLink], toy: Toy) -> None:
    server = start_redis()
    rights = ("+@read", "+@write", "+@scripting", "+@connection")
    server.do("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~{stream-reco}:*", *rights)
    server.do("ACL", "SETUSER", "default", "off")
    where = f"127.0.0.1:{server.port}"
    carries(link(f"redis://app:{QUOTED}@{where}"), toy)
    carries(link(f"redis://app:wrong@{where}", PASSWORD), toy, 2)
    assert "AuthenticationError" in refusal(link(f"redis://app:x{QUOTED}@{where}"))
    assert "AuthenticationError" in refusal(link(f"redis://{where}"))
    with pytest.raises(RedisRefused, match="NoPermission"):
        link(f"redis://app:{QUOTED}@{where}").call("GET", "other")
    with pytest.raises(ChannelRefused, match="AuthenticationError"):
        RedisChannel(link(f"redis://app:x@{where}")).send(toy.publication(3, 0))


def test_a_socket_of_unix(start_redis: Start, link: Callable[..., RedisLink], toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start_redis("--unixsocket", str(path), "--requirepass", PASSWORD)
    carries(link(f"unix://:{QUOTED}@{path}?db=2"), toy)
    refusal(link(f"unix://{path}"))
    refusal(link(f"unix://{tmp_path}/nowhere"), RedisUnreachable)


def test_a_socket_of_unix_from_settings(start_redis: Start, toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start_redis("--unixsocket", str(path), "--requirepass", PASSWORD)
    environ = {"STREAM_RECO_REDIS_URL": f"unix://{path}?db=2", "STREAM_RECO_REDIS_PASSWORD": PASSWORD}
    with RedisLink.of(load(None, environ).settings.redis) as one:
        carries(one, toy)
        assert str(one.address) == f"unix://{path}"


def test_tls(start_redis: Start, link: Callable[..., RedisLink], toy: Toy, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    server = start_redis(
        "--tls-cert-file",
        str(certificate),
        "--tls-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(certificate),
        "--tls-auth-clients",
        "no",
        tls=True,
    )
    carries(link(f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={certificate}"), toy)
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(link(f"rediss://127.0.0.1:{server.port}"), RedisUnreachable)
    refusal(link(f"redis://127.0.0.1:{server.port}"), RedisUnreachable)
    refusal(link(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={tmp_path}/nowhere.pem"), RedisUnreachable)


def test_a_cluster(start_redis: Start, link: Callable[..., RedisLink], toy: Toy) -> None:
    server = start_redis("--cluster-enabled", "yes", "--appendonly", "yes", "--appendfsync", "always")
    server.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: b"cluster_state:ok" in server.do("CLUSTER", "INFO"), 10)
    one = link(f"redis+cluster://127.0.0.1:{server.port}", timeout=0.5)
    carries(one, toy)
    one.call_many([("SET", f"{{stream-reco}}:{number}", number) for number in range(3)])
    assert one.call("MGET", "{stream-reco}:0", "{stream-reco}:2") == [b"0", b"2"]
    server.kill()
    started = time.monotonic()
    with pytest.raises(ChannelUnreachable):
        RedisChannel(one).read("", 1)
    assert time.monotonic() - started < 3
    refusal(link(f"redis+cluster://127.0.0.1:{server.port}"), RedisUnreachable)
    server.start()

    def works() -> bool:
        try:
            return bool(RedisChannel(one).read("", 1))
        except ChannelUnreachable:
            return False

    until(works, 10)
    carries(one, toy, 2)


def test_a_single_server_is_no_cluster(redis_server: RedisServer, link: Callable[..., RedisLink]) -> None:
    refusal(link(f"redis+cluster://127.0.0.1:{redis_server.port}"), RedisUnreachable)


def test_sentinels_lead_to_the_primary_and_to_the_one_after_it(
    start_redis: Start, link: Callable[..., RedisLink], toy: Toy
) -> None:
    primary = start_redis("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    other = start_redis(
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--replicaof",
        "127.0.0.1",
        str(primary.port),
        "--repl-diskless-sync-delay",
        "0",
    )
    watch = f'''sentinel monitor shop 127.0.0.1 {primary.port} 1
sentinel auth-pass shop "{PASSWORD}"
sentinel down-after-milliseconds shop 500
sentinel failover-timeout shop 2000
'''
    sentinel = start_redis("--sentinel", config=watch)
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1:{nobody.getsockname()[1]},127.0.0.1:{sentinel.port}"
        until(lambda: other.do("AUTH", PASSWORD) and len(sentinel.do("SENTINEL", "REPLICAS", "shop")) == 1, 30)
        one = link(f"redis+sentinel://:{QUOTED}@{hosts}/shop/0", timeout=0.5)
        carries(one, toy)
        refusal(link(f"redis+sentinel://:{QUOTED}@{hosts}/cafe/0"), RedisUnreachable)
        primary.kill()
        started = time.monotonic()
        with pytest.raises(ChannelUnreachable):
            RedisChannel(one).read("", 1)
        assert time.monotonic() - started < 3

        def works() -> bool:
            try:
                RedisChannel(one).send(toy.publication(2, 0))
            except (ChannelRefused, ChannelUnreachable):
                return False
            return True

        until(works, 60)
        carries(one, toy, 3)


@pytest.mark.parametrize("name", [None, "watcher"])
def test_sentinels_with_a_password_of_their_own(start_redis: Start, toy: Toy, name: str | None) -> None:
    theirs = "of the sentinels"
    primary = start_redis("--requirepass", PASSWORD)
    let_in = f'requirepass "{theirs}"'
    if name is not None:
        let_in = f"user {name} on #{sha256(theirs.encode()).hexdigest()} +@all\nuser default off"
    sentinel = start_redis(
        "--sentinel",
        config=f'''sentinel monitor shop 127.0.0.1 {primary.port} 1
sentinel auth-pass shop "{PASSWORD}"
{let_in}
''',
    )
    environ = {
        "STREAM_RECO_REDIS_URL": f"redis+sentinel://127.0.0.1:{sentinel.port}/shop/0",
        "STREAM_RECO_REDIS_PASSWORD": PASSWORD,
        "STREAM_RECO_REDIS_SENTINEL_PASSWORD": theirs,
    }
    named = {} if name is None else {"STREAM_RECO_REDIS_SENTINEL_USERNAME": name}
    with RedisLink.of(load(None, environ | named).settings.redis) as one:
        carries(one, toy)
    wrong = environ | named | {"STREAM_RECO_REDIS_SENTINEL_PASSWORD": f"not {theirs}"}
    with RedisLink.of(load(None, wrong).settings.redis) as one:
        assert theirs not in refusal(one, RedisFailure)
    without = {key: value for key, value in environ.items() if "SENTINEL" not in key}
    with RedisLink.of(load(None, without).settings.redis) as one:
        refusal(one, RedisFailure)


def test_an_address_where_nobody_is_costs_no_time(link: Callable[..., RedisLink]) -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        started = time.monotonic()
        refusal(link(f"redis://:{QUOTED}@127.0.0.1:{nobody.getsockname()[1]}"), RedisUnreachable)
        assert time.monotonic() - started < 1


def test_that_redis_is_away_is_logged_once_and_that_it_is_back_too(
    start_redis: Start, link: Callable[..., RedisLink], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stream_reco.redis.connection")
    server = start_redis("--requirepass", PASSWORD)
    one = link(f"redis://:{QUOTED}@127.0.0.1:{server.port}")
    for _ in range(2):
        one.call("GET", "a")
        server.kill()
        for _ in range(5):
            refusal(one, RedisUnreachable)
        server.start()
    one.call_many([("GET", "a")])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert f"redis://127.0.0.1:{server.port}/0 unreachable: ConnectionError" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_wrong_address_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="is no address of Redis"):
        RedisLink("127.0.0.1:6379")
