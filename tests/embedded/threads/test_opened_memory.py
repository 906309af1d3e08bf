"""What the collector of circular garbage does while a data folder is read."""

from __future__ import annotations

import gc
import weakref

import pytest

from stream_reco.embedded.threads.opened_memory import filling_memory


class _Node:
    """One half of a circle."""

    other: _Node


def _circle() -> weakref.ref[_Node]:
    one, other = _Node(), _Node()
    one.other, other.other = other, one
    return weakref.ref(one)


def test_objects_that_stay_are_not_looked_through_again_and_young_garbage_goes() -> None:
    def oldest() -> int:
        found: int = gc.get_stats()[2]["collections"]
        return found

    gc.collect()
    before, passed = oldest(), _circle()
    with filling_memory():
        kept = [[number] for number in range(300_000)]
        assert oldest() == before
        assert passed() is None
    del kept


def test_afterwards_the_collector_is_as_it_was_also_where_reading_failed() -> None:
    before = gc.get_threshold()
    during = []

    def read() -> None:
        with filling_memory():
            during.append(gc.get_threshold())
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        read()
    assert during != [before]
    assert gc.get_threshold() == before
