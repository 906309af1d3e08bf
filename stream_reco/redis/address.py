"""Where Redis is: what an address says, understood once, so that a wrong one is refused before anything connects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

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


@dataclass(frozen=True)
class RedisAddress:
    """One server, a Unix socket, the primary that sentinels know, or a cluster."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    """Names or addresses, with ports: of the server, of the sentinels, of some nodes of the cluster."""
    path: str = ""
    """Of the Unix socket."""
    service: str = ""
    """What the sentinels call the primary."""
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    """What sentinels themselves ask for; the others are for the servers that they name."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and values of what TLS needs beside the system's certificates, as redis-py calls them."""

    def __str__(self) -> str:
        """The address without name and password."""
        scheme = next(scheme for scheme, kind in _KINDS.items() if kind == (self.kind, self.tls))
        if self.kind == "unix":
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        place = {"sentinel": f"/{self.service}/{self.db}", "one": f"/{self.db}"}.get(self.kind, "")
        return f"{scheme}://{hosts}{place}"


def parse_address(url: str, password: str | None = None) -> RedisAddress:
    """What the address says; `password` goes before one that it holds. Raises ValueError, which never shows either.

    redis://[[user]:password@]host[:port][/db], rediss:// the same over TLS, unix://[user:password@]/path[?db=0],
    redis+sentinel://…@host[:port],host[:port]/service[/db], redis+cluster://…@host[:port],host[:port]; the last two
    with rediss over TLS. The user and the password are Redis's, percent-encoded where they hold one of /?#@:. Over
    TLS ?ssl_ca_certs=FILE, ssl_certfile, ssl_keyfile, ssl_cert_reqs and ssl_check_hostname may follow.
    """
    scheme = url.partition("://")[0]
    if scheme not in _KINDS or "://" not in url:
        raise ValueError(f"{_shown(url)!r} is no address of Redis: it begins with one of {', '.join(_KINDS)}, then ://")
    kind, tls = _KINDS[scheme]
    try:
        return _understood(urlsplit(url), kind, tls, password)
    except ValueError as error:
        raise ValueError(f"{_shown(url)!r} is no address of Redis: {error}") from None


def _understood(parts: SplitResult, kind: Kind, tls: bool, password: str | None) -> RedisAddress:
    named, _, hosts = parts.netloc.rpartition("@")
    user, _, secret = named.partition(":")
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError("a password that holds one of / ? # @ : must have it %-encoded, such as %23 for #")
    options = _options(parts.query, kind, tls)
    service, db = _place(parts.path, kind)
    if kind == "unix" and (hosts or not parts.path):
        raise ValueError("write unix:///folder/redis.sock")
    return RedisAddress(
        kind=kind,
        hosts=() if kind == "unix" else tuple(_host(one, _PORTS[kind]) for one in hosts.split(",")),
        path=unquote(parts.path) if kind == "unix" else "",
        service=service,
        db=int(options.pop("db", db)),
        tls=tls,
        username=unquote(user) or None,
        password=password or unquote(secret) or None,
        options=tuple(sorted(options.items())),
    )


def _host(text: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?", text)
    if found is None:
        raise ValueError("it must name a host, as host or host:port; / ? # @ : within a password are %-encoded")
    port = int(found[3] or default)
    if not 0 < port < 65536:
        raise ValueError(f"port {port} must be 1 to 65535")
    return found[1] or found[2], port


def _place(path: str, kind: Kind) -> tuple[str, str]:
    """The service of sentinels and the number of the database."""
    if kind == "unix":
        return "", "0"
    names = [unquote(name) for name in path.split("/") if name]
    service = names.pop(0) if kind == "sentinel" and names else ""
    if kind == "sentinel" and not service:
        raise ValueError("sentinels are asked for a service: write redis+sentinel://host:port,host:port/service/0")
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
    return options


def _shown(url: str) -> str:
    """As much of a text as may be seen, whatever is wrong with it."""
    scheme, _, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    if "?" in before or (at and "/" in before):
        return f"{scheme[:20]}://***"
    return f"{scheme[:20]}://{'***@' if at else ''}{after.partition('?')[0]}"
