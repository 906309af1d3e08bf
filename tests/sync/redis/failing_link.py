"""A link to a real Redis that breaks where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from stream_reco.redis.connection import RedisLink


class Failing(RedisLink):
    """Fails at a certain command, before or after Redis has done it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.at: Callable[[tuple[Any, ...]], bool] = lambda _: False
        self.after = False
        self.error: Exception = redis.ConnectionError("gone")

    def call(self, *command: Any) -> Any:
        fails = self.at(command)
        if fails and not self.after:
            self._fail(self.error)
        answer = super().call(*command)
        if fails:
            self._fail(self.error)
        return answer


def at_commit(command: tuple[Any, ...]) -> bool:
    return command[0] == "EVAL" and "XADD" in command[1]
