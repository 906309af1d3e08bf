"""Sets of offsets against plain sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.topics.offset_ranges import Ranges

NUMBERS = st.sets(st.integers(0, 60))


@given(NUMBERS)
def test_text_leads_back(numbers: set[int]) -> None:
    ranges = Ranges.of((number, number) for number in numbers)
    assert Ranges.parse(str(ranges)) == ranges
    assert {number for number in range(70) if number in ranges} == numbers
    assert ranges.last == max(numbers, default=-1)
    assert all(last + 2 <= first for (_, last), (first, _) in zip(ranges.runs, ranges.runs[1:], strict=False))


@given(NUMBERS, st.integers(-1, 60))
def test_all_but_some(missing: set[int], last: int) -> None:
    ranges = Ranges.all_but(missing, last)
    assert {number for number in range(70) if number in ranges} == set(range(last + 1)) - missing


@given(NUMBERS, st.integers(0, 60))
def test_the_first_that_is_missing(numbers: set[int], start: int) -> None:
    ranges = Ranges.of((number, number) for number in numbers)
    assert ranges.first_missing(start) == next(number for number in range(start, 70) if number not in numbers)


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), ("5", "5"), ("3-7, 1 ,8", "1,3-8"), ("9-,11-20", "9-"), ("4,2-6,3-9", "2-9")]
)
def test_people_write_them_as_they_like(text: str, shown: str) -> None:
    assert str(Ranges.parse(text)) == shown


@pytest.mark.parametrize("text", ["x", "-5", "7-3", "1-2-3", "1.5", "³"])
def test_what_is_no_range_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no range|before it begins"):
        Ranges.parse(text)
