"""Postings against plain sets, while slots get and lose codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.signals import postings
from stream_reco.signals.postings import Postings

CODES = 6
SETS = st.lists(st.integers(0, CODES - 1), min_size=1, max_size=4, unique=True)
ASKED = st.lists(st.sets(st.integers(0, CODES + 2)), min_size=1, max_size=4)


def made(held: Sequence[Sequence[int]]) -> Postings:
    at, members = list[int](), list[int]()
    for codes in held:
        at.append(codes[0] if len(codes) == 1 else ~len(members))
        if len(codes) > 1:
            members += [*codes[:-1], ~codes[-1]]
    return Postings(np.array(at, dtype=np.int32), np.array(members, dtype=np.int32), CODES)


def ints(numbers: Sequence[int] | set[int]) -> NDArray[np.int32]:
    return np.array(sorted(numbers), dtype=np.int32)


def check(found: Postings, held: Sequence[Sequence[int]], asked: list[set[int]]) -> None:
    """`held` are the slots that were made or set; those behind have code 0."""
    known = len(found.counts)
    rest = range(len(held), len(found))
    for slot, codes in enumerate(held):
        assert sorted(found.codes_of(slot)) == sorted(codes)
    for code in range(known):
        assert found.counts[code] == sum(code in codes for codes in held) + (len(rest) if code == 0 else 0)
    assert found.links == found.counts.sum()
    for some in asked:
        wanted = {code for code in some if code < known}
        slots = [slot for slot, codes in enumerate(held) if wanted & set(codes)] + [*rest] * (0 in wanted)
        assert found.slots_of(ints(wanted)).tolist() == slots
        assert np.flatnonzero(found.with_any(np.isin(np.arange(known), list(wanted)))).tolist() == slots
        every = np.arange(len(found), dtype=np.int32)
        for among in (every, every[::2], every[:0]):
            here = found.where(among, lambda codes, wanted=wanted: np.isin(codes, list(wanted)))  # type: ignore[misc]
            assert among[here].tolist() == [slot for slot in slots if slot in among]
        assert found.count(ints(wanted)) == sum(len(wanted & set(codes)) for codes in held) + len(rest) * (0 in wanted)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(SETS, max_size=8),
    st.lists(
        st.tuples(st.integers(0, 9), st.lists(st.integers(0, CODES + 2), min_size=1, max_size=4, unique=True)),
        max_size=12,
    ),
    ASKED,
    st.integers(1, 9),
)
def test_slots_are_found_by_what_they_have_now(
    held: list[list[int]], changes: list[tuple[int, list[int]]], asked: list[set[int]], log: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "_SHORTEST_LOG", log)
        found = made(held)
        check(found, held, asked)
        for slot, codes in changes:
            found.set(slot, codes)
            held = [*held, *([[0]] * (slot + 1 - len(held)))]
            held[slot] = codes
            check(found, held, asked)


def test_what_was_given_back_is_found_once() -> None:
    found = made([[1], [2], [1, 2]])
    for _ in range(3):
        found.set(0, [2])
        found.set(0, [1])
    found.set(2, [2])
    assert found.slots_of(ints([1])).tolist() == [0]
    assert found.slots_of(ints([1, 2])).tolist() == [0, 1, 2]


def test_lists_are_made_again_when_the_log_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "_SHORTEST_LOG", 10)
    found = made([[1]] * 100)
    logged = []
    for slot in range(100):
        found.set(slot, [2])
        logged.append(found._logged)
        assert found.slots_of(ints([2])).tolist() == list(range(slot + 1))
    assert max(logged) == 10
    assert logged.count(0) == 9


def test_members_that_fit_take_the_place_of_those_before() -> None:
    found = made([[1, 2, 3], [4]])
    for codes in ([3, 4], [1, 5], [2, 3]):
        found.set(0, codes)
        assert found.codes_of(0) == codes
    assert found.written == 3
    found.set(0, [1, 2, 3, 4])
    assert found.written == 7
