"""The address of Redis: one parser for settings and connections, so that a bad one is refused before connecting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol
from unicodedata import normalize
from urllib.parse import SplitResult, parse_qsl, unquote

Kind = Literal["one", "unix", "sentinel", "cluster"]
_KINDS: dict[str, tuple[Kind, bool]] = {
    "redis": ("one", False),
    "rediss": ("one", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Kind, int] = {"one": 6379, "unix": 0, "sentinel": 26379, "cluster": 6379}
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_CERT_REQS = ("none", "optional", "required")
_SENTINEL = "redis+sentinel://host:port,host:port/service/0"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,19}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?")


class RedisSource(Protocol):
    """Settings that name a Redis and the credentials for it."""

    @property
    def url(self) -> str: ...
    @property
    def password(self) -> str | None: ...
    @property
    def sentinel_username(self) -> str | None: ...
    @property
    def sentinel_password(self) -> str | None: ...


@dataclass(frozen=True)
class RedisAddress:
    """One server, a Unix socket, the primary that sentinels name, or a cluster."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    """Host names or IP addresses with ports: the server's, the sentinels', or those of some nodes of the cluster."""
    path: str = ""
    """Path of the Unix socket."""
    service: str = ""
    """The name by which sentinels know the primary."""
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    """Credentials of the sentinels themselves; `username` and `password` are for the servers that they name."""
    options: tuple[tuple[str, str], ...] = ()
    """TLS options as (name, value), named as in redis-py."""

    def __str__(self) -> str:
        """The address without name and password."""
        scheme = next(scheme for scheme, kind in _KINDS.items() if kind == (self.kind, self.tls))
        if self.kind == "unix":
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        place = {"sentinel": f"/{self.service}/{self.db}", "one": f"/{self.db}"}.get(self.kind, "")
        return f"{scheme}://{hosts}{place}"


def address_of(source: RedisSource) -> RedisAddress:
    """The address that settings name, with its credentials. Raises ValueError, whose text never shows any of them."""
    scheme = source.url.partition("://")[0]
    if (source.sentinel_username or source.sentinel_password) and not scheme.endswith("+sentinel"):
        raise ValueError(
            "sentinel_username or sentinel_password is set, but url names no sentinels; write"
            f" {_SENTINEL}, or leave them out"
        )
    if source.sentinel_username and not source.sentinel_password:
        raise ValueError("sentinel_username is set without sentinel_password: give both")
    return replace(
        parse_address(source.url, source.password),
        sentinel_username=source.sentinel_username,
        sentinel_password=source.sentinel_password,
    )


def parse_address(url: str, password: str | None = None) -> RedisAddress:
    """Parse an address; `password` replaces the one that it holds. Raises ValueError, whose text shows neither.

    redis://[[user]:password@]host[:port][/db], rediss:// the same over TLS, unix://[user:password@]/path[?db=0],
    redis+sentinel://…@host[:port],host[:port]/service[/db], redis+cluster://…@host[:port],host[:port]; the last two
    with rediss over TLS. The user and the password are Redis's, percent-encoded where they hold one of /?#@:. Over
    TLS ?ssl_ca_certs=FILE, ssl_certfile, ssl_keyfile, ssl_cert_reqs and ssl_check_hostname may follow.
    """
    shown = without_credentials(url)
    scheme = url.partition("://")[0]
    if scheme not in _KINDS or "://" not in url:
        raise ValueError(f"{shown!r} is no address of Redis: it begins with one of {', '.join(_KINDS)}, then ://")
    kind, tls = _KINDS[scheme]
    try:
        return _parsed(_split(url), kind, tls, password)
    except ValueError as error:
        raise ValueError(f"{shown!r} is no address of Redis: {error}") from None


def without_credentials(url: str) -> str:
    """As much of an address, valid or not, as may be shown: no user, no password, nothing that may be part of one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if url else ""
    prefix = f"{scheme if _SCHEME.fullmatch(scheme) else '***'}://"
    credentials, at, place = rest.rpartition("@")
    hosts, slash, path = place.partition("?")[0].partition("/")
    hosts_are_plain = all(map(_HOST.fullmatch, hosts.split(","))) or (scheme == "unix" and not hosts)
    # A password that is not percent-encoded may reach into each part that follows it.
    if "#" in rest or any(mark in credentials for mark in "/?") or not hosts_are_plain:
        return f"{prefix}***"
    return prefix + "***@" * bool(at) + hosts + slash + path + _shown_options(place.partition("?")[2])


def _shown_options(query: str) -> str:
    options = parse_qsl(query, keep_blank_values=True)
    known = all(name in (*_TLS, "db") for name, _ in options)
    return ("?" + (query if known else "***")) if query else ""


def _split(url: str) -> SplitResult:
    # `urlsplit` knows one host: some versions refuse an IPv6 address behind others, with the password in the message.
    scheme, _, rest = url.partition("://")
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    netloc, slash, path = rest.partition("/")
    # Characters that stand for one that separates: clients that normalise them would read another address.
    if any(mark in normalize("NFKC", sign) for sign in netloc if not sign.isascii() for mark in "/?#@:"):
        raise ValueError("characters must be plain ones: %-encode those of a password")
    return SplitResult(scheme, netloc, slash + path, query, fragment)


def _parsed(parts: SplitResult, kind: Kind, tls: bool, password: str | None) -> RedisAddress:
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password_within = credentials.partition(":")
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError("a password that holds one of / ? # @ : must have it %-encoded, such as %23 for #")
    options = _options(parts.query, kind, tls)
    service, db = _service_and_db(parts.path, kind)
    if kind == "unix" and (hosts or not parts.path.strip("/")):
        raise ValueError("it must name a socket by its path: write unix:///folder/redis.sock")
    named = () if kind == "unix" else tuple(_host_and_port(one, _PORTS[kind]) for one in hosts.split(","))
    if kind == "one" and len(named) > 1:
        raise ValueError("several hosts are those of sentinels (redis+sentinel://) or of a cluster (redis+cluster://)")
    return RedisAddress(
        kind=kind,
        hosts=named,
        path=unquote(parts.path) if kind == "unix" else "",
        service=service,
        db=int(options.pop("db", db)),
        tls=tls,
        username=unquote(username) or None,
        password=password or unquote(password_within) or None,
        options=tuple(sorted(options.items())),
    )


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError("it must name a host, as host or host:port; / ? # @ : within a password are %-encoded")
    port = int(found[3] or default_port)
    if not 0 < port < 65536:
        raise ValueError(f"port {port} must be 1 to 65535")
    return found[1] or found[2], port


def _service_and_db(path: str, kind: Kind) -> tuple[str, str]:
    """The sentinels' service ("" for other kinds) and the number of the database, from what follows the hosts."""
    if kind == "unix":
        return "", "0"
    names = [unquote(name) for name in path.split("/") if name]
    service = names.pop(0) if kind == "sentinel" and names else ""
    if kind == "sentinel" and not service:
        raise ValueError(f"sentinels are asked for a service: write {_SENTINEL}")
    db = names.pop(0) if names else "0"
    if names or not re.fullmatch(r"\d{1,5}", db):
        raise ValueError("what follows the host must be the number of a database, such as /0")
    if kind == "cluster" and int(db):
        raise ValueError("a cluster has only database 0")
    return service, db


def _options(query: str, kind: Kind, tls: bool) -> dict[str, str]:
    allowed = (*(("db",) if kind == "unix" else ()), *(_TLS if tls else ()))
    options = dict(parse_qsl(query, keep_blank_values=True))
    # The name of another one is not repeated: it may be the rest of a password.
    if not options.keys() <= set(allowed):
        raise ValueError(f"after ? it may say {', '.join(allowed) or 'nothing'}, but nothing else")
    if not re.fullmatch(r"\d{1,5}", options.get("db", "0")):
        raise ValueError("db must be the number of a database")
    if options.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise ValueError(f"ssl_cert_reqs must be one of {', '.join(_CERT_REQS)}")
    return options
