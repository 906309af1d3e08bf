"""Access control: bearer tokens, and protection of a server without one from requests by other sites' pages.

A server on loopback needs no token, but every browser on the machine can reach it. Two checks keep foreign pages out:
the Host header must be a loopback name (a page that rebinds its own name to 127.0.0.1 still sends its own name), and a
request that carries an Origin must come from this server itself.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from stream_reco.serve.settings import ServeSettings


class UnprotectedBindError(ValueError):
    """The server would listen beyond this machine without a token."""


class ForbiddenError(PermissionError):
    """The request is refused; `status` is the HTTP status, the text is for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address, bracketed or not, stays on this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


class Guard:
    """Decides whether a request is allowed."""

    def __init__(self, settings: ServeSettings) -> None:
        self._hashes = tuple(_token_hashes(settings))
        self._hosts = frozenset(name.lower() for name in settings.allowed_hosts)
        if not self._hashes and not is_loopback(settings.host):
            raise UnprotectedBindError(
                f"refusing to listen on {settings.host!r}, which others can reach, without a token: set the "
                "environment variable STREAM_RECO_SERVE_TOKEN or the setting serve.token_hashes, or listen on 127.0.0.1"
            )

    def check_origin(self, host: str | None, origin: str | None) -> None:
        """Raise `ForbiddenError` for a request that another site's page makes."""
        if host is not None and not self._hashes and not self._known_host(host_name(host)):
            raise ForbiddenError(
                421,
                "host",
                f"this server does not answer to the name {host!r}: use a loopback address, or add the name to the "
                "setting serve.allowed_hosts",
            )
        if origin is not None and (host is None or origin.partition("://")[2].lower() != host.lower()):
            raise ForbiddenError(
                403, "origin", f"a page of {origin!r} may not call this server: call it without a browser"
            )

    def check_token(self, authorization: str | None) -> None:
        """Raise `ForbiddenError` unless the Authorization header carries a known token, or none is needed."""
        if not self._hashes:
            return
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ForbiddenError(
                401, "token", "this server needs a token: send the header 'Authorization: Bearer <token>'"
            )
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        # Every hash is compared, so that the time taken does not reveal which of them nearly matched.
        if not sum(hmac.compare_digest(digest, known) for known in self._hashes):
            raise ForbiddenError(401, "token", "unknown token: compare it with the server's settings")

    def _known_host(self, name: str) -> bool:
        return is_loopback(name) or name.lower() in self._hosts


def _token_hashes(settings: ServeSettings) -> Iterable[str]:
    if settings.token is not None:
        yield hashlib.sha256(settings.token.encode()).hexdigest()
    yield from settings.token_hashes
