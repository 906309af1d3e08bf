"""What is said of users and items, in the loop in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from stream_reco.clock import ManualClock
from stream_reco.config import load
from stream_reco.embedded import Engine
from tests import programs, two_tastes

START = 1_760_000_000_000


class InOneProcess:
    """An engine with a clock of its own."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self._engine, self._clock = engine, clock

    def post(self, events: Sequence[Mapping[str, Any]]) -> None:
        self._clock.advance(1000)
        now = self._clock.now_ms()
        answer = self._engine.ingest([{**event, "timestamp": now} for event in events])
        assert answer.accepted == len(events), answer

    def slate(self, user: str, count: int) -> Mapping[str, Any]:
        answer = self._engine.recommend(user, count)
        built: dict[str, Any] = msgspec.to_builtins(answer)
        return built

    def forget(self, user: str) -> None:
        self._engine.forget(user)

    def settle(self) -> None:
        self._clock.advance(10_000)
        self._engine.tick(self._clock.now_ms())
        self._engine.sync()

    def until(self, condition: Callable[[], bool]) -> None:
        """A user's own is served at once."""
        assert condition()


def test_a_shop_of_two_tastes() -> None:
    settings, clock = load(environ=programs.settings(**two_tastes.SETTINGS)).settings, ManualClock(START)
    with Engine(None, settings, clock=clock) as engine:
        two_tastes.play(InOneProcess(engine, clock))
