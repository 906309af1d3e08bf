"""The calendar queue against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_reco.labels.memory.calendar_queue import Calendar


@given(
    width=st.integers(1, 50),
    steps=st.lists(
        st.tuples(st.integers(-200, 200), st.integers(0, 2), st.sampled_from(["push", "push", "pop", "take"])),
        max_size=80,
    ),
)
def test_entries_come_in_order_whatever_was_pushed_when(width: int, steps: list[tuple[int, int, str]]) -> None:
    calendar: Calendar[str] = Calendar(width)
    held: list[tuple[int, int, int, str]] = []
    for seq, (time, kind, what) in enumerate(steps):
        if what == "pop":
            expected = min((entry for entry in held if entry[0] < time), default=None)
            assert calendar.pop_before(time) == expected
            if expected:
                held.remove(expected)
        elif what == "take":
            wanted = [entry for entry in held if entry[1] == kind]
            assert sorted(calendar.take(lambda entry, kind=kind: entry[1] == kind)) == sorted(wanted)  # type: ignore[misc]
            held = [entry for entry in held if entry[1] != kind]
        else:
            calendar.push(time, kind, seq, f"item {seq}")
            held.append((time, kind, seq, f"item {seq}"))
        assert sorted(calendar) == sorted(held)
        assert len(calendar) == len(held)
