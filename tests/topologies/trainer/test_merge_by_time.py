"""Several sources in one order of time, however they come in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.trainer.merge_by_time import Merge

sources = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=4)


def in_order(times: list[list[int]]) -> list[tuple[int, int]]:
    """Source and place of all, by the highest time up to each, then by source."""
    highest = [[max(one[: at + 1]) for at in range(len(one))] for one in times]
    every = [(time, source, at) for source, one in enumerate(highest) for at, time in enumerate(one)]
    return [(source, at) for _, source, at in sorted(every)]


@settings(max_examples=300, deadline=None)
@given(times=sources, data=st.data())
def test_the_order_does_not_depend_on_how_the_sources_are_read(times: list[list[int]], data: st.DataObject) -> None:
    merge = Merge[int, int](range(len(times)))
    read = [0] * len(times)
    taken: list[tuple[int, int]] = []

    def is_at_end(source: int) -> bool:
        return read[source] == len(times[source])

    while len(taken) < sum(map(len, times)):
        source = data.draw(st.integers(0, len(times) - 1))
        for _ in range(data.draw(st.integers(0, 3))):
            if not is_at_end(source):
                merge.put(source, times[source][read[source]], read[source])
                read[source] += 1
        taken += merge.take(data.draw(st.integers(1, 5)), is_at_end)
    assert taken == in_order(times)
    assert merge.is_empty


def test_a_source_that_may_bring_something_older_is_waited_for() -> None:
    merge = Merge[str, int](["a", "b"])
    merge.put("a", 5, 1)
    assert merge.take(9, lambda source: source == "a") == []
    merge.put("b", 3, 2)
    assert merge.take(9, lambda source: source == "a") == [("b", 2)]
    assert merge.short(1) == ["b"]
    assert merge.take(9, lambda _: True) == [("a", 1)]


def test_what_tells_no_time_stays_behind_what_came_before_it() -> None:
    merge = Merge[str, int](["a", "b"])
    for time, item in ((7, 1), (None, 2)):
        merge.put("a", time, item)
    merge.put("b", 6, 3)
    assert [item for _, item in merge.take(9, lambda _: True)] == [3, 1, 2]
