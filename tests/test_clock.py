"""The clocks: one that is the world's, one that does what it is told."""

from __future__ import annotations

import datetime

import pytest

from stream_reco.clock import Clock, ManualClock, SystemClock


def test_system_clock_is_in_milliseconds_of_this_century() -> None:
    clock: Clock = SystemClock()
    first = clock.now_ms()
    assert datetime.datetime.fromtimestamp(first / 1000, tz=datetime.UTC).year in range(2024, 2100)
    assert clock.now_ms() >= first


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5)
    assert clock.now_ms() == clock.now_ms() == 5
    clock.advance(10)
    assert clock.now_ms() == 15
    clock.set(3)
    assert clock.now_ms() == 3


def test_manual_clock_refuses_to_advance_backwards() -> None:
    with pytest.raises(ValueError, match="use set"):
        ManualClock().advance(-1)
