"""Watermarks of several partitions: each rule by example, any history against the reference, and joins by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.labels import Example, LabelJoiner, Watermarks, WatermarksState
from tests.labels.reference_join import Row, reference_join
from tests.labels.reference_watermarks import Call, Reference

LATENESS, IDLE = 10, 40
HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 1_700_000_000_000


def marks_of(*partitions: int | str, lateness: int = LATENESS, idle: int = IDLE) -> Watermarks:
    marks = Watermarks(lateness, idle)
    for partition in partitions:
        marks.assign(partition)
    return marks


def wait(marks: Watermarks, since: int, ms: int) -> int:
    """Ask for the merged watermark as a loop does that polls every 5 ms; returns when it last did."""
    for now in range(since, since + ms + 1, 5):
        marks.merged(now)
    return since + ms


# --- one partition, and the minimum of many


def test_a_watermark_is_the_highest_event_time_less_the_lateness() -> None:
    marks = marks_of("clicks")
    assert marks.of("clicks") is None
    for timestamp in (100, 70, 130, 129):
        marks.observe("clicks", timestamp, now=NOW)
    assert marks.of("clicks") == 120


def test_merged_is_the_minimum() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, 500, now=NOW)
    assert marks.merged(NOW) is None
    marks.observe(1, 100, now=NOW)
    assert marks.merged(NOW) == 90
    marks.observe(1, 700, now=NOW)
    assert marks.merged(NOW) == 490


def test_nothing_is_known_of_no_partition() -> None:
    assert Watermarks().merged(NOW) is None


def test_partitions_5_and_text_5_are_two() -> None:
    marks = marks_of(5, "5")
    marks.observe(5, 100, now=NOW)
    assert marks.of("5") is None


def test_old_logs_replay() -> None:
    marks = marks_of(0)
    for timestamp in (NOW - 9_000 * DAY, NOW - 5_000 * DAY, NOW + 300_000):
        marks.observe(0, timestamp, now=NOW)
        assert marks.merged(NOW) == marks.of(0) == timestamp - LATENESS


def test_a_producer_ahead_of_the_clock_moves_its_own_partition_alone() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, NOW, now=NOW)
    marks.observe(1, NOW + 299_000, now=NOW)
    marks.tick(NOW + 1000)
    assert marks.of(0) == marks.merged(NOW + 1000) == NOW + 1000 - LATENESS


# --- idle partitions


def test_an_idle_partition_does_not_hold_the_others_back() -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=0)
    for now in range(0, IDLE, 5):
        marks.observe(0, 500 + now, now)
        assert marks.merged(now) == 90
    marks.observe(0, 600, now=IDLE)
    assert marks.merged(IDLE) == 590
    assert marks.of(1) == 90


def test_one_that_never_spoke_holds_back_until_it_is_idle() -> None:
    marks = marks_of(0)
    marks.observe(0, 500, now=0)
    assert marks.merged(0) == 490
    marks.assign(1)
    for now in range(0, IDLE, 5):
        marks.observe(0, 600, now)
        assert marks.merged(now) == 490
    marks.observe(0, 600, now=IDLE)
    assert marks.merged(IDLE) == 590


def test_one_that_speaks_again_is_late_and_counts_again() -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=0)
    wait(marks, 0, IDLE)
    marks.observe(0, 500, now=IDLE)
    assert marks.merged(IDLE) == 490
    marks.observe(1, 110, now=IDLE)
    assert marks.of(1) == 100
    marks.observe(0, 900, now=IDLE)
    assert marks.merged(IDLE) == 490
    marks.observe(1, 700, now=IDLE)
    assert marks.merged(IDLE) == 690


def test_where_all_are_idle_time_stands_at_the_highest() -> None:
    marks = marks_of(0, 1, 2)
    marks.observe(0, 500, now=0)
    marks.observe(1, 100, now=0)
    assert wait(marks, 0, IDLE) == IDLE
    assert marks.merged(IDLE) == 490
    assert marks.merged(IDLE + DAY) == 490


def test_without_patience_nobody_holds_back() -> None:
    marks = marks_of(0, 1, idle=0)
    marks.observe(0, 500, now=0)
    assert marks.merged(0) == 490


# --- assignment


def test_what_is_revoked_does_not_hold_back() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, 500, now=NOW)
    marks.observe(1, 100, now=NOW)
    marks.revoke(1)
    assert marks.merged(NOW) == 490
    marks.revoke(0)
    assert marks.merged(NOW) == 490


def test_what_comes_back_starts_anew_and_merged_stays() -> None:
    marks = marks_of(0)
    marks.observe(0, 500, now=NOW)
    assert marks.merged(NOW) == 490
    marks.revoke(0)
    marks.assign(0)
    assert marks.of(0) is None
    marks.observe(0, 300, now=NOW)
    assert (marks.of(0), marks.merged(NOW)) == (290, 490)


def test_assigning_again_changes_nothing() -> None:
    marks = marks_of(0)
    marks.observe(0, 500, now=NOW)
    marks.assign(0)
    assert marks.of(0) == 490


@pytest.mark.parametrize(
    "call",
    [
        lambda marks: marks.observe("7", 100, now=NOW),
        lambda marks: marks.of("7"),
        lambda marks: marks.revoke("7"),
        lambda marks: marks.tick(NOW, behind=["7"]),
    ],
)
def test_a_partition_that_is_not_assigned_is_named(call: Callable[[Watermarks], object]) -> None:
    with pytest.raises(ValueError, match=r"partition '7' is unknown.*assign\('7'\) first \(assigned now: 7, 'a'\)"):
        call(marks_of(7, "a"))
    with pytest.raises(ValueError, match="assigned now: none"):
        call(marks_of())
    with pytest.raises(ValueError, match="assigned now: 0, 1, 2, 3, 4, …"):
        call(marks_of(*range(100)))


def test_settings_that_make_no_sense_are_named() -> None:
    with pytest.raises(ValueError, match="the lateness is -1 ms: it must be 0 to 100 years"):
        Watermarks(lateness_ms=-1)
    with pytest.raises(ValueError, match="idle after -5 ms: it must be 0 to 100 years"):
        Watermarks(idle_ms=-5)


# --- clocks that jump


@pytest.mark.parametrize("jump", [5 * HOUR, 365 * DAY])
def test_a_jump_forward_leaves_everyone_time_to_speak(jump: int) -> None:
    marks = marks_of(0, 1)
    marks.observe(0, 500, now=NOW)
    marks.observe(1, 100, now=NOW)
    assert marks.merged(NOW + jump) == 90
    marks.observe(1, 200, now=NOW + jump + 5)
    assert marks.merged(NOW + jump + 5) == 190
    assert wait(marks, NOW + jump + 5, IDLE)
    assert marks.merged(NOW + jump + 5 + IDLE) == 490


@pytest.mark.parametrize("jump", [IDLE + 1, 5 * HOUR, 365 * DAY])
def test_after_a_jump_back_silence_goes_on_counting(jump: int) -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=NOW)
    marks.observe(0, 500, now=NOW)
    assert marks.merged(NOW - jump) == 90
    wait(marks, NOW - jump, IDLE)
    assert marks.merged(NOW - jump + IDLE) == 490


def test_clocks_that_differ_a_little_do_not_count_twice() -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=NOW)
    for _ in range(100):
        marks.observe(0, 500, now=NOW + 3)
        marks.observe(0, 500, now=NOW - 3)
    assert marks.merged(NOW + 3) == 90


def test_calls_that_are_rare_make_idle_after_four() -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=0)
    found = []
    for hour in range(6):
        marks.observe(0, 500, now=hour * HOUR)
        found.append(marks.merged(hour * HOUR))
    assert found == [90, 90, 90, 90, 490, 490]


# --- live


def test_a_tick_moves_time_within_an_hour_of_the_clock() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, NOW - HOUR, now=NOW)
    marks.observe(1, NOW - 5, now=NOW)
    marks.tick(NOW + 1)
    assert (marks.of(0), marks.of(1)) == (NOW - HOUR - LATENESS, NOW + 1 - LATENESS)
    marks = marks_of(0)
    marks.observe(0, NOW - HOUR, now=NOW)
    marks.tick(NOW)
    assert marks.of(0) == marks.merged(NOW) == NOW - LATENESS


def test_ticks_keep_a_silent_stream_live() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, NOW, now=NOW)
    marks.observe(1, NOW, now=NOW)
    for now in range(NOW, NOW + 3 * HOUR + 1, 60_000):
        marks.tick(now)
        assert marks.merged(now) == marks.of(0) == marks.of(1) == now - LATENESS


def test_a_replay_is_moved_by_its_events_alone() -> None:
    marks = marks_of(0)
    marks.observe(0, NOW - DAY, now=NOW)
    for now in range(NOW, NOW + 10 * IDLE, 5):
        marks.tick(now)
    assert marks.merged(now) == NOW - DAY - LATENESS


def test_a_partition_that_reads_its_backlog_is_not_moved() -> None:
    marks = marks_of(0, 1, 2)
    marks.observe(0, NOW, now=NOW)
    marks.observe(1, NOW - DAY, now=NOW)
    marks.tick(NOW + 5)
    assert (marks.of(0), marks.of(1), marks.of(2)) == (NOW + 5 - LATENESS, NOW - DAY - LATENESS, None)


def test_an_idle_one_is_moved_where_another_is_live() -> None:
    marks = marks_of(0, 1, 2)
    marks.observe(1, NOW - DAY, now=NOW)
    for now in range(NOW, NOW + IDLE + 1, 5):
        marks.observe(0, now, now=now)
        marks.tick(now)
    assert (marks.of(1), marks.of(2)) == (now - LATENESS, None)


def test_one_known_to_be_behind_is_not_moved() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, NOW - 1000, now=NOW)
    marks.observe(1, NOW - 1000, now=NOW)
    marks.tick(NOW, behind=[1])
    assert (marks.of(0), marks.of(1)) == (NOW - LATENESS, NOW - 1000 - LATENESS)


def test_a_tick_never_takes_time_back() -> None:
    marks = marks_of(0)
    marks.observe(0, NOW, now=NOW)
    for now in (NOW - 1000, NOW - 5 * HOUR, NOW + 5 * HOUR):
        marks.tick(now)
        assert marks.of(0) == marks.merged(now) == NOW - LATENESS


def test_a_clock_hours_behind_the_stream_moves_nobody() -> None:
    marks = marks_of(0, 1)
    marks.observe(0, NOW, now=NOW - 2 * HOUR)
    marks.observe(1, NOW - DAY, now=NOW - 2 * HOUR)
    now = wait(marks, NOW - 2 * HOUR, IDLE)
    marks.tick(now)
    assert (marks.of(0), marks.of(1)) == (NOW - LATENESS, NOW - DAY - LATENESS)


# --- restart


def restarted(marks: Watermarks) -> Watermarks:
    data = msgspec.msgpack.encode(marks.state())
    return Watermarks.from_state(msgspec.msgpack.decode(data, type=WatermarksState))


def test_a_restart_keeps_every_watermark() -> None:
    marks = marks_of(0, "b", -3)
    marks.observe(0, 500, now=NOW)
    marks.observe("b", 100, now=NOW)
    wait(marks, NOW, IDLE)
    again = restarted(marks)
    assert again.state() == marks.state()
    assert [again.of(partition) for partition in (0, "b", -3)] == [490, 90, None]
    assert again.merged(NOW) == 490
    assert (again.lateness_ms, again.idle_ms) == (LATENESS, IDLE)


def test_after_a_restart_everyone_has_time_to_speak() -> None:
    marks = marks_of(0, 1)
    marks.observe(1, 100, now=NOW)
    marks.observe(0, 500, now=NOW)
    wait(marks, NOW, IDLE)
    again = restarted(marks)
    again.observe(0, 900, now=NOW + DAY)
    assert again.merged(NOW + DAY) == 490
    wait(again, NOW + DAY, IDLE - 5)
    again.observe(0, 900, now=NOW + DAY + IDLE)
    assert again.merged(NOW + DAY + IDLE) == 890


# --- any history

PARTITIONS: tuple[int | str, ...] = (0, 1, "a")
CALLS = ("assign", "revoke", "restart", *["observe"] * 10, *["tick"] * 5, *["merged"] * 5)
STEPS = (0, 1, 3, 5, 5, 9, 10, 10, 10, 11, 20, 40, 2 * HOUR, -2, -20, -39, -40, -41, -2 * HOUR)
AHEAD = (0, 1, 7, 30, -5, -60, -HOUR, -HOUR - 1, -2 * HOUR, HOUR, HOUR + 1, 300_000)


def history_of(draw: np.random.Generator, length: int) -> list[Call]:
    """Calls that are allowed, at a wall clock that mostly goes forward; some partitions speak more than others."""
    assigned: set[int | str] = {0, 1}
    history = [Call("assign", 0), Call("assign", 1)]
    now = NOW
    while len(history) < length:
        what, partition = str(draw.choice(CALLS)), PARTITIONS[draw.choice(3, p=(0.7, 0.2, 0.1))]
        if what == "assign":
            history.append(Call("assign", partition))
            assigned.add(partition)
        elif what == "revoke" and partition in assigned:
            history.append(Call("revoke", partition))
            assigned.remove(partition)
        elif what == "restart":
            history.append(Call("restart"))
        else:
            now += int(draw.choice(STEPS))
            if what == "observe" and partition in assigned:
                history.append(Call("observe", partition, now + int(draw.choice(AHEAD)), now))
            elif what == "tick":
                behind = {partition} & assigned if draw.random() < 0.3 else set()
                history.append(Call("tick", now=now, behind=tuple(behind)))
            elif what == "merged":
                history.append(Call("merged", now=now))
    return history


def apply(marks: Watermarks, call: Call) -> Watermarks:
    if call.what == "assign":
        marks.assign(call.partition)
    elif call.what == "revoke":
        marks.revoke(call.partition)
    elif call.what == "restart":
        return restarted(marks)
    elif call.now is not None:
        if call.what == "observe":
            marks.observe(call.partition, call.timestamp, call.now)
        elif call.what == "tick":
            marks.tick(call.now, call.behind)
        else:
            marks.merged(call.now)
    return marks


def never_lower(before: int | None, after: int | None) -> bool:
    return before is None or (after is not None and after >= before)


@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_history_gives_the_watermarks_of_the_reference(seed: int) -> None:
    marks, reference = Watermarks(LATENESS, IDLE), Reference(LATENESS, IDLE)
    before: dict[int | str, int | None] = {}
    merged: int | None = None
    for call in history_of(np.random.default_rng(seed), 60):
        marks = apply(marks, call)
        reference.history.append(call)
        after = {one: marks.of(one) for one in reference.assigned(len(reference.history))}
        assert after == {one: reference.of(one) for one in after}
        assert all(never_lower(time, after[one]) for one, time in before.items() if one in after)
        if call.what == "merged" and call.now is not None:
            now = marks.merged(call.now)
            assert now == reference.merged()
            assert never_lower(merged, now)
            merged = now
        before = after


# --- joins by them

WINDOW, END = 50, 100_000
USERS = 9
Log = list[Event]


def log_of(draw: np.random.Generator, impressions: int) -> Log:
    """Impressions in the order of their times, and, on half of them, an action that may be retracted."""
    log: Log = []
    for number in range(impressions):
        time, user, item = 10 * number + int(draw.integers(10)), int(draw.integers(USERS)), int(draw.integers(5))
        request, at = f"r{number}", time + int(draw.integers(130))
        if draw.random() < 0.9:  # else the impression is lost
            log.append(
                Impression(user_id=user, item_id=item, timestamp=time, request_id=request, event_id=f"i{number}")
            )
        if draw.random() < 0.5:
            acted = f"a{number}"
            log.append(
                Action(user_id=user, item_id=item, timestamp=at, action="like", request_id=request, event_id=acted)
            )
            if draw.random() < 0.3:
                back = at + int(draw.integers(60))
                log.append(Retraction(retracts=acted, timestamp=back, event_id=f"x{number}", user_id=user))
    return sorted(log, key=lambda event: event.timestamp)


def disordered(draw: np.random.Generator, log: Log) -> Log:
    """The log as it comes where each event is up to the lateness late."""
    late = [event.timestamp + int(draw.integers(LATENESS + 1)) for event in log]
    return [log[at] for at in sorted(range(len(log)), key=late.__getitem__)]


def row(example: Example) -> Row:
    undone = example.undoes
    what = (example.user_id, example.item_id, example.request_id, example.label, example.weight, example.reason)
    undoes = None if undone is None else (undone.reason, undone.label, undone.weight, undone.label_time)
    return (*what, example.event_time, example.label_time, undoes)


def polls(parts: Sequence[Log], paces: Sequence[int]) -> list[list[tuple[int, Event]]]:
    """What each poll brings: of every partition as many events as its pace, until all are read."""
    found = []
    read = [0] * len(parts)
    while any(at < len(part) for at, part in zip(read, parts, strict=True)):
        found.append(
            [
                (number, event)
                for number, part in enumerate(parts)
                for event in part[read[number] : read[number] + paces[number]]
            ]
        )
        read = [at + pace for at, pace in zip(read, paces, strict=True)]
    return found


def join_merged(parts: Sequence[Log], paces: Sequence[int], marks: Watermarks) -> tuple[list[Example], LabelJoiner]:
    """One joiner of all partitions that a poll every 5 ms reads, moved by their merged watermark."""
    joiner = LabelJoiner(WINDOW, None, LATENESS)
    out: list[Example] = []
    for at, poll in enumerate(polls(parts, paces)):
        now = NOW + 5 * at
        for partition, event in poll:
            marks.observe(partition, event.timestamp, now)
            out += joiner.process([event])
        if (merged := marks.merged(now)) is not None:
            out += joiner.advance(merged)
    return out, joiner


seeds = st.integers(0, 2**32 - 1)
paces = st.permutations([1, 2, 20])


@settings(max_examples=100, deadline=None)
@given(seed=seeds, paces=paces)
def test_a_log_over_three_partitions_joins_as_the_whole(seed: int, paces: list[int]) -> None:
    draw = np.random.default_rng(seed)
    log = log_of(draw, 60)
    split: list[Log] = [[], [], []]
    for event in log:
        split[int(draw.integers(3))].append(event)
    marks = marks_of(0, 1, 2)
    out, joiner = join_merged([disordered(draw, part) for part in split], paces, marks)
    assert joiner.late == 0
    assert Counter(map(row, out + joiner.advance(END))) == Counter(reference_join(log, WINDOW))


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_an_idle_partition_changes_no_example_and_delays_none_for_ever(seed: int) -> None:
    draw = np.random.default_rng(seed)
    log = log_of(draw, 120)
    parts = [disordered(draw, log[::2]), disordered(draw, log[1::2]), []]
    marks = marks_of(0, 1, 2)
    out, joiner = join_merged(parts, [2, 3, 1], marks)
    assert joiner.late == 0
    assert sum(example.reason == "window" for example in out) > 10
    assert Counter(map(row, out + joiner.advance(END))) == Counter(reference_join(log, WINDOW))


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_what_an_idle_partition_brings_late_is_processed(seed: int) -> None:
    """One falls silent, the other goes on without it, then comes all that it held, too late to be joined exactly."""
    draw = np.random.default_rng(seed)
    log = log_of(draw, 60)
    first, second = disordered(draw, log[::2]), disordered(draw, log[1::2])
    marks = marks_of(0, 1)
    out, joiner = join_merged([first, second[:5]], [1, 1], marks)
    before = marks.merged(NOW + DAY)
    for event in second[5:]:
        marks.observe(1, event.timestamp, NOW + DAY)
        assert marks.merged(NOW + DAY) == before
        out += joiner.process([event])
    out += joiner.advance(END)
    assert joiner.late > 10
    assert joiner.pending == 0
    firsts = [example for example in out if example.undoes is None and example.reason != "unprompted"]
    assert Counter(one.request_id for one in firsts) == Counter(e.request_id for e in log if isinstance(e, Impression))
    acted = {event.request_id for event in log if isinstance(event, Action)}
    assert {example.request_id for example in out if example.label == 1} == acted


@settings(max_examples=100, deadline=None)
@given(seed=seeds, paces=paces)
def test_each_partition_may_mature_by_its_own_watermark(seed: int, paces: list[int]) -> None:
    draw = np.random.default_rng(seed)
    log = log_of(draw, 60)
    by_user = [[event for event in log if user_of(event) % 3 == number] for number in range(3)]
    marks = marks_of(0, 1, 2)
    joiners = [LabelJoiner(WINDOW, None, LATENESS) for _ in range(3)]
    out: list[Example] = []
    apart = False
    for poll in polls([disordered(draw, part) for part in by_user], paces):
        for partition, event in poll:
            marks.observe(partition, event.timestamp, NOW)
            out += joiners[partition].process([event])
            own = marks.of(partition)
            assert own is not None
            out += joiners[partition].advance(own)
            apart |= own != marks.merged(NOW)
    assert apart
    assert [joiner.late for joiner in joiners] == [0, 0, 0]
    out += [example for joiner in joiners for example in joiner.advance(END)]
    assert Counter(map(row, out)) == Counter(reference_join(log, WINDOW))


def user_of(event: Event) -> int:
    assert isinstance(event, Impression | Action | Retraction)
    assert isinstance(event.user_id, int)
    return event.user_id
