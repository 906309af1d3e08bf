"""The keys of one Redis written down, and written again into another one, of whatever version."""

from __future__ import annotations

import base64
from typing import Any, Protocol

Keys = dict[str, Any]
"""Type and content by key, ready for JSON; bytes are base64. Nothing is said of when keys leave."""
_SHORT_MS = 60_000
"""What leaves within a minute only says who reads at present."""


class Server(Protocol):
    """Such as `tests.redis_server.RedisServer`."""

    def do(self, *command: bytes | str | int) -> Any: ...


def dump(server: Server) -> Keys:
    """All keys that stay."""
    keys = [key for key in sorted(server.do("KEYS", "*")) if not 0 <= server.do("PTTL", key) <= _SHORT_MS]
    return {key.decode(): _content(server, key) for key in keys}


def _content(server: Server, key: bytes) -> list[Any]:
    match server.do("TYPE", key):
        case b"string":
            return ["string", _text(server.do("GET", key))]
        case b"hash":
            return ["hash", [_text(one) for one in _flat(server.do("HGETALL", key))]]
        case b"set":
            return ["set", [_text(one) for one in sorted(server.do("SMEMBERS", key))]]
        case b"stream":
            entries = server.do("XRANGE", key, "-", "+")
            return ["stream", [[number.decode(), [_text(one) for one in _flat(entry)]] for number, entry in entries]]
        case other:
            raise ValueError(f"{key!r} is of type {other!r}, which is not written down")


def restore(server: Server, keys: Keys) -> None:
    """Write all keys."""
    for key, (kind, content) in keys.items():
        if kind == "stream":
            for number, entry in content:
                server.do("XADD", key, number, *map(_bytes, entry))
        elif kind == "string":
            server.do("SET", key, _bytes(content))
        else:
            server.do({"hash": "HSET", "set": "SADD"}[kind], key, *map(_bytes, content))


def _flat(content: Any) -> list[bytes]:
    """Fields and values in turn, from a list of them or from a dictionary."""
    return [one for pair in content.items() for one in pair] if isinstance(content, dict) else list(content)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
