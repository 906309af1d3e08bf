"""A client of a running server, which retries when the server is busy or unavailable for a while.

A request may be sent twice: events carry ids, so what the server has already counts as duplicates and changes nothing.
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from stream_reco.events import Event, encode
from stream_reco.terminal.errors import Failure, Misuse

MOST_BYTES = 8 * 1024 * 1024
"""Size of one batch; half of what a server accepts by default."""
_LONGEST_WAIT = 10.0
"""Seconds between two attempts, at most."""
_REQUEST_SECONDS = 120.0
_EXAMPLES = 5
"""Rejections that are shown in words."""
_RETRIED = (429, 503)


@dataclass
class Sent:
    """Counts of the events that were sent."""

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    messages: list[str] = field(default_factory=list)
    """The first few rejections, for people."""

    def add(self, count: int, answer: Any) -> None:
        """Count one answered batch of `count` events."""
        self.events += count
        self.accepted += answer["accepted"]
        self.duplicates += answer["duplicates"]
        self.rejected.update(answer.get("rejected_more", {}))
        for rejection in answer["rejected"]:
            self.rejected[rejection["reason"]] += 1
            if len(self.messages) < _EXAMPLES:
                self.messages.append(f"{rejection['reason']}: {rejection.get('message', '')}")


class Client:
    """One connection to the server at `url`, opened again when it breaks.

    It gives up after `timeout` seconds without an answer. `sleep` and `clock` (seconds) are arguments for tests.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misuse(f"--url is {url!r}: give the server's address, such as http://127.0.0.1:8080")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=_REQUEST_SECONDS)
        except ValueError as error:  # of a port that is no number
            raise Misuse(f"--url is {url!r}: {error}") from error
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._base = parts.path.rstrip("/")
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self._timeout, self._sleep, self._clock = timeout, sleep, clock

    def post(self, route: str, body: bytes) -> Any:
        """Post JSON to a route such as `/v1/events`; returns the decoded answer. Raises `Failure` without one."""
        started = self._clock()
        wait = 0.1
        while True:
            status, retry_after, answer = self._try(self._base + route, body)
            if status == 200:
                return answer
            problem = answer.get("message", answer) if isinstance(answer, dict) else answer
            if status is not None and status not in _RETRIED:
                raise Failure(f"{self._url} refused the request with status {status}: {problem}")
            pause = min(_LONGEST_WAIT, max(wait, retry_after))
            if self._clock() + pause - started > self._timeout:
                raise Failure(f"{self._url} did not answer within {self._timeout:g} s: {problem}")
            self._sleep(pause)
            wait *= 2

    def _try(self, target: str, body: bytes) -> tuple[int | None, float, Any]:
        """Status, seconds of Retry-After, and answer; no status where the connection failed."""
        try:
            self._connection.request("POST", target, body, self._headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return None, 0.0, f"{type(error).__name__}: {error}; is `stream-reco serve` running there?"
        try:
            answer = json.loads(data)
        except ValueError:
            return response.status, 0.0, f"not JSON: {data[:80]!r}; is this a stream-reco server?"
        answer = answer.get("error", answer) if response.status != 200 and isinstance(answer, dict) else answer
        return response.status, _seconds(response.getheader("retry-after")), answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _seconds(header: str | None) -> float:
    try:
        asked = float(header or 0)
    except ValueError:  # a date, which only proxies send
        return 1.0
    return asked if math.isfinite(asked) else 1.0


def bodies(events: Iterable[Event], size: int) -> Iterator[tuple[int, bytes]]:
    """Cut events into JSON arrays of at most `size` events and about 8 MiB; yields how many and the bytes."""
    parts: list[bytes] = []
    weight = 0
    for event in events:
        part = encode(event)
        if parts and (len(parts) >= size or weight + len(part) > MOST_BYTES):
            yield len(parts), b"[" + b",".join(parts) + b"]"
            parts, weight = [], 0
        parts.append(part)
        weight += len(part) + 1
    if parts:
        yield len(parts), b"[" + b",".join(parts) + b"]"
