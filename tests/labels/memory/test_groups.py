"""The responses that a group keeps against all that it got."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_reco.labels.memory.groups import Group


@given(responses=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=20))
def test_the_earliest_response_to_a_later_impression_is_known(responses: list[tuple[int, int]]) -> None:
    group: Group[str] = Group()
    for at, (rank, time) in enumerate(responses):
        known = any(r >= rank and t <= time for r, t in responses[:at])
        assert group.respond(rank, time, since=0) is not known
    assert group.ranks == sorted(set(group.ranks))
    assert group.times == sorted(set(group.times))
    for rank in range(11):
        told = group.join(rank, rank, str(rank), since=0)
        times = [t for r, t in responses if r > rank]
        assert (told[0] if told else None) == min(times, default=None)


@given(
    ranks=st.lists(st.integers(0, 10), max_size=20),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=30),
)
def test_passed_over_are_those_before_that_are_still_there(ranks: list[int], steps: list[tuple[bool, int]]) -> None:
    group: Group[int] = Group()
    present = set()
    for seq, rank in enumerate(ranks):
        group.join(rank, seq, seq, since=0)
        present.add(seq)
    left: set[int] = set()
    for leaves, number in steps:
        if leaves and number < len(ranks) and number not in left:
            left.add(number)
            group.leave(ranks[number], number, 0)
            present.discard(number)
        else:
            before = {seq for seq in present if ranks[seq] < number}
            taken = group.passed_over(number)
            assert (set(taken), len(taken)) == (before, len(before))
            assert [ranks[seq] for seq in taken] == sorted(ranks[seq] for seq in taken)
            present -= before
    assert group.alive == len(ranks) - len(left)


def test_old_responses_are_forgotten() -> None:
    group: Group[str] = Group()
    for time in range(10):
        group.join(time, time, "member", since=0)
        group.respond(time, time, since=0)
    assert group.join(2, 10, "another", since=6) == (6, 6)
    group.leave(0, 0, before=7)
    assert group.times == [7, 8, 9]
    assert group.ranks == [7, 8, 9]
