"""What an address of Redis may say, and that a wrong one is refused in words that give nothing away."""

from __future__ import annotations

import pytest

from stream_reco.redis.address import parse_address, without_credentials

SECRET = "pa55word"  # noqa: S105 - not one


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "rest"),
    [
        ("redis://127.0.0.1", "one", [("127.0.0.1", 6379)], {"db": 0, "tls": False}),
        ("redis://[::1]:7000/3", "one", [("::1", 7000)], {"db": 3}),
        ("rediss://cache.shop:6380/1", "one", [("cache.shop", 6380)], {"db": 1, "tls": True}),
        ("redis://app:p%40%2Fss@h:1", "one", [("h", 1)], {"username": "app", "password": "p@/ss"}),
        ("redis://:only@h:1", "one", [("h", 1)], {"username": None, "password": "only"}),
        ("unix:///run/redis.sock?db=2", "unix", [], {"path": "/run/redis.sock", "db": 2}),
        ("unix://app:pw@/run/r.sock", "unix", [], {"path": "/run/r.sock", "username": "app", "password": "pw"}),
        (
            "redis+sentinel://u:p@a:1,b,[::1]:3/shop/2",
            "sentinel",
            [("a", 1), ("b", 26379), ("::1", 3)],
            {"service": "shop", "db": 2, "username": "u", "password": "p"},
        ),
        ("redis+cluster://a:1,b:2", "cluster", [("a", 1), ("b", 2)], {"tls": False}),
        ("rediss+cluster://a:1/0", "cluster", [("a", 1)], {"tls": True}),
        ("rediss://h?ssl_ca_certs=/ca.pem", "one", [("h", 6379)], {"options": (("ssl_ca_certs", "/ca.pem"),)}),
    ],
)
def test_what_an_address_says(url: str, kind: str, hosts: list[tuple[str, int]], rest: dict[str, object]) -> None:
    address = parse_address(url)
    assert (address.kind, list(address.hosts)) == (kind, hosts)
    assert {name: getattr(address, name) for name in rest} == rest


def test_a_password_of_its_own_goes_before_the_one_within() -> None:
    assert parse_address("redis://app:old@h", "new").password == "new"  # noqa: S105
    assert parse_address("redis://h", "new").password == "new"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    ["redis://h:1/3", "rediss://h:1/0", "redis+sentinel://a:1,[::1]:2/shop/0", "redis+cluster://a:1,b:2", "unix:///r"],
)
def test_an_address_is_shown_as_it_was_given(url: str) -> None:
    assert str(parse_address(url)) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with one of"),
        ("redis://a:1,b:2/0", "several hosts are those of sentinels"),
        ("localhost:6379", "begins with one of"),
        (f"http://u:{SECRET}@h", "begins with one of"),
        ("redis://", "host:port"),
        (f"redis://:{SECRET}@", "host:port"),
        (f"redis://:{SECRET}@h:port", "host:port"),
        ("redis://h:0x1", "host:port"),
        ("redis://h:99999", "1 to 65535"),
        ("redis://h/first", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        (f"redis://:pa/{SECRET}@h", "%-encoded"),
        (f"redis://:pa?{SECRET}@h", "%-encoded"),
        (f"redis://:pa#{SECRET}@h", "%-encoded"),
        (f"redis://h?password={SECRET}", "may say nothing"),
        (f"redis://h?password=x@{SECRET}", "%-encoded"),
        (f"redis://:pa?{SECRET}", "may say nothing"),
        ("redis://h?ssl_ca_certs=/ca.pem", "may say nothing"),
        ("unix://h/run/redis.sock", "unix:///"),
        ("unix:///r?db=x", "number of a database"),
        ("redis+sentinel://a:1,b:2", "asked for a service"),
        ("redis+sentinel://a:1,/shop", "host:port"),
        ("redis+cluster://a:1/2", "only database 0"),
        (f"redis://:{SECRET}@[::1", "no address"),
        (f"redis://:{SECRET}\u2100@h", "characters must be plain ones"),  # NFKC makes a/c of it
        (f"redis://:{SECRET}", "host:port"),
        (f"redis://app:{SECRET}", "host:port"),
        (f"app:{SECRET}@h", "begins with one of"),
        ("unix:///", "unix:///folder"),
        ("unix:/run/redis.sock", "begins with one of"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs must be one of"),
    ],
)
def test_a_wrong_address_is_refused_without_giving_anything_away(url: str, why: str) -> None:
    with pytest.raises(ValueError, match="is no address of Redis") as wrong:
        parse_address(url)
    assert why in str(wrong.value)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://h:1/3", "redis://h:1/3"),
        (f"redis://app:{SECRET}@h:1/3", "redis://***@h:1/3"),
        ("redis+sentinel://app@a:1,[::1]:2/shop/0", "redis+sentinel://***@a:1,[::1]:2/shop/0"),
        (f"unix://app:{SECRET}@/run/r.sock?db=2", "unix://***@/run/r.sock?db=2"),
        ("rediss://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_ca_certs=/ca.pem"),
        (f"redis://h?password={SECRET}", "redis://h?***"),
        (f"redis://:pa/{SECRET}@h", "redis://***"),
        (f"redis://:pa#{SECRET}@h", "redis://***"),
        (f"redis://h#{SECRET}", "redis://***"),
        (f"redis://app:{SECRET}", "redis://***"),
        (f"{SECRET.upper()}://h", "***://h"),
        (SECRET.upper(), "***"),
    ],
)
def test_what_of_an_address_is_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_neither_name_nor_password_is_ever_shown() -> None:
    address = parse_address(f"redis+sentinel://app:{SECRET}@a:1/shop/0")
    assert SECRET not in f"{address} {address!r}"
    assert "app" not in f"{address} {address!r}"
