"""The responses that a group keeps against all that it got."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_reco.labels.groups import Group
from stream_reco.labels.pending import Shown


def impression(seq: int) -> Shown:
    return Shown(seq, 0, "u", "i", None, None, None, None, None)


@given(responses=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=20))
def test_the_earliest_response_to_a_later_impression_is_known(responses: list[tuple[int, int]]) -> None:
    group = Group()
    for at, (rank, time) in enumerate(responses):
        known = any(r >= rank and t <= time for r, t in responses[:at])
        assert group.respond(rank, time) is not known
    assert group.ranks == sorted(set(group.ranks))
    assert group.times == sorted(set(group.times))
    for rank in range(11):
        told = group.join(rank, impression(rank))
        times = [t for r, t in responses if r > rank]
        assert (told[0] if told else None) == min(times, default=None)


def test_passed_over_are_those_before_without_a_label() -> None:
    group = Group()
    impressions = [impression(seq) for seq in range(4)]
    for rank in (2, 0, 3, 1):
        group.join(rank, impressions[rank])
    impressions[1].label = 1
    assert group.passed_over(3) == [impressions[0], impressions[2]]
    assert group.passed_over(3) == []
    assert group.passed_over(4) == [impressions[3]]
