"""The joiner against the brute-force join, whatever the order of arrival, the repetitions and the crashes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example, KindSettings, LabelJoiner
from stream_reco.labels.label.delays import AdaptiveWait
from stream_reco.labels.memory.in_memory import InMemory
from stream_reco.labels.settings import DAY_MS
from tests.labels.reference_join import NEGATIVE, Row, distinct, reference_join, row, rows

WINDOW = 50
END = 10_000
WEIGHTS = {"like": 1.0, "buy": 3.0, "hover": 0.0, "skip": 1.0, "report": 2.0, "hide": 0.5}
STRONG = tuple(kind for kind in sorted(WEIGHTS) if kind != "hide")
"""Without the one that weighs less than a negative for want of an action, to which it adds nothing once that stands."""
Order = Literal["group", "slate"] | None
ADAPTIVE = AdaptiveWait(least_ms=3, most_ms=40, unknown_ms=10, enough=2)
"""Waits for logs that last some hundred milliseconds."""


def join(log: Sequence[Event], joiner: LabelJoiner, ticks: Sequence[bool] = ()) -> list[Example]:
    """One event at a time; time passes before an event where `ticks` says so, and wholly in the end."""
    out: list[Example] = []
    highest = 0
    for at, event in enumerate(log):
        if at < len(ticks) and ticks[at]:
            out += joiner.advance(highest - joiner.lateness_ms)
        out += joiner.process([event])
        highest = max(highest, event.timestamp)
    return out + joiner.advance(END)


@st.composite
def logs(
    draw: st.DrawFn, actions: int = 3, loose: bool = True, kinds: Sequence[str] = tuple(sorted(WEIGHTS))
) -> list[Event]:
    """A log in the order of its times: slates, up to `actions` actions on an impression, and their retractions."""
    events: list[Event] = []
    number = 0
    for request in range(draw(st.integers(1, 3))):
        time = draw(st.integers(0, 60))
        user: Id = "u" if draw(st.booleans()) else 7
        for position in range(draw(st.integers(1, 3))):
            item = request * 10 + position
            group: Id | None = draw(st.sampled_from([None, "g", 5]))
            if draw(st.integers(0, 4)):  # else the impression of these actions is lost
                events.append(
                    Impression(
                        user_id=user,
                        item_id=item,
                        timestamp=time,
                        request_id=f"r{request}",
                        event_id=f"i{item}",
                        position=position,
                        group_id=group,
                    )
                )
            for _ in range(draw(st.integers(0, actions))):
                number += 1
                at = time + draw(st.integers(0, 130))
                named = not loose or draw(st.booleans())
                kept = draw(st.integers(0, 3)) > 0
                events.append(
                    Action(
                        user_id=user,
                        item_id=item,
                        timestamp=at,
                        action=draw(st.sampled_from(kinds)),
                        request_id=f"r{request}" if named else None,
                        event_id=f"a{number}" if kept else None,
                    )
                )
                if kept and draw(st.booleans()):
                    events.append(
                        Retraction(
                            retracts=f"a{number}",
                            timestamp=at + draw(st.integers(0, 60)),
                            event_id=f"x{number}",
                            user_id=user,
                        )
                    )
    rank = {Impression: 0, Action: 1, Retraction: 2}
    return sorted(events, key=lambda event: (event.timestamp, rank[type(event)]))  # type: ignore[index]


def shuffled(log: list[Event], shifts: Sequence[int]) -> list[Event]:
    """The log as it comes when each event is up to its shift late."""
    late = [event.timestamp + shift for event, shift in zip(log, shifts, strict=False)]
    return [log[at] for at in sorted(range(len(log)), key=lambda at: late[at])]


ticks = st.lists(st.booleans(), max_size=60).map(lambda some: some + [True] * (60 - len(some)))
shifts = st.lists(st.integers(0, 20), max_size=60).map(lambda some: some + [0] * (60 - len(some)))


def one_at_a_time(log: list[Event]) -> bool:
    """Whether nothing happens at the very time of something else to an item that somebody disliked.

    Such have no order, so how often the label changes at that time is a matter of which is taken first; where it ends
    is not.
    """
    actions = [event for event in log if isinstance(event, Action)]
    items = {event.event_id: event.item_id for event in actions}
    disliked = {event.item_id for event in actions if event.action in NEGATIVE}
    moments = [(event.item_id, event.timestamp) for event in actions]
    moments += [(items[event.retracts], event.timestamp) for event in log if isinstance(event, Retraction)]
    critical = [one for one in moments if one[0] in disliked]
    return len(set(critical)) == len(critical)


def takes_dislikes_back(log: list[Event]) -> bool:
    """Whether a negative action is retracted."""
    taken = {event.retracts for event in log if isinstance(event, Retraction)}
    return any(event.event_id in taken and event.action in NEGATIVE for event in log if isinstance(event, Action))


@settings(max_examples=300, deadline=None)
@given(log=logs().filter(one_at_a_time), ticks=ticks, lateness=st.sampled_from([0, 20]))
def test_examples_in_order_are_those_of_the_reference(log: list[Event], ticks: list[bool], lateness: int) -> None:
    # Where a deadline passes late, an action after it is held for longer: if a dislike was taken back by then, the
    # label turns at that time instead of at the action's.
    assume((all(ticks) and lateness == 0) or not takes_dislikes_back(log))
    joiner = LabelJoiner(WINDOW, None, lateness, WEIGHTS)
    assert rows(join(log, joiner, ticks)) == Counter(reference_join(log, WINDOW, None, WEIGHTS))
    assert joiner.pending == 0


@settings(max_examples=200, deadline=None)
@given(log=logs(loose=False).filter(one_at_a_time))
def test_earlier_negatives_are_those_of_the_reference(log: list[Event]) -> None:
    orders: tuple[Order, ...] = ("group", "slate")
    for order in orders:
        joiner = LabelJoiner(WINDOW, order, 0, WEIGHTS)
        examples: list[Example] = []
        for event in log:  # each comes as its time begins, so that all that is before has passed
            examples += joiner.advance(event.timestamp) + joiner.process([event])
        got = rows(examples + joiner.advance(END))
        assert got == Counter(reference_join(log, WINDOW, order, WEIGHTS))


@settings(max_examples=300, deadline=None)
@given(log=logs(actions=1, loose=False), shifts=shifts, ticks=ticks, repeated=st.lists(st.integers(0, 59), max_size=5))
def test_disorder_and_repetition_change_no_example(
    log: list[Event], shifts: list[int], ticks: list[bool], repeated: list[int]
) -> None:
    arrived = shuffled(log, shifts)
    for at in sorted(repeated, reverse=True):
        if at < len(arrived) and arrived[at].event_id is not None:
            arrived.insert(at + (at * 7) % (len(arrived) - at), arrived[at])
    if len(arrived) != len(distinct(arrived)):
        ticks = [tick and at % 2 == 0 for at, tick in enumerate(ticks)]
    joiner = LabelJoiner(WINDOW, None, 20, WEIGHTS)
    assert rows(join(arrived, joiner, ticks)) == Counter(reference_join(log, WINDOW, None, WEIGHTS))


@settings(max_examples=300, deadline=None)
@given(log=logs(loose=False, kinds=STRONG), shifts=shifts, ticks=ticks, order=st.sampled_from([None, "group", "slate"]))
def test_last_label_and_weight_hold_under_disorder(
    log: list[Event], shifts: list[int], ticks: list[bool], order: Order
) -> None:
    expected = {key: chain[-1][:2] for key, chain in chains(reference_join(log, WINDOW, order, WEIGHTS)).items()}
    got = chains(map(row, join(shuffled(log, shifts), LabelJoiner(WINDOW, order, 20, WEIGHTS), ticks)))
    assert {key: chain[-1][:2] for key, chain in got.items()} == expected


@settings(max_examples=200, deadline=None)
@given(log=logs(loose=False), shifts=shifts, ticks=ticks)
def test_weak_negative_actions_weigh_the_same_under_disorder(
    log: list[Event], shifts: list[int], ticks: list[bool]
) -> None:
    expected = {key: chain[-1][:2] for key, chain in chains(reference_join(log, WINDOW, None, WEIGHTS)).items()}
    got = chains(map(row, join(shuffled(log, shifts), LabelJoiner(WINDOW, None, 20, WEIGHTS), ticks)))
    assert {key: chain[-1][:2] for key, chain in got.items()} == expected


@settings(max_examples=200, deadline=None)
@given(
    log=logs().filter(one_at_a_time),
    ticks=ticks,
    lateness=st.sampled_from([0, 20]),
    windows=st.dictionaries(st.sampled_from(["like", "skip"]), st.integers(1, WINDOW)),
)
def test_a_kind_with_a_window_of_its_own_is_about_younger_impressions(
    log: list[Event], ticks: list[bool], lateness: int, windows: dict[str, int]
) -> None:
    assume((all(ticks) and lateness == 0) or not takes_dislikes_back(log))
    kinds = {kind: KindSettings(window_days=window / DAY_MS) for kind, window in windows.items()}
    joiner = LabelJoiner(WINDOW, None, lateness, WEIGHTS, kinds=kinds)
    assert rows(join(log, joiner, ticks)) == Counter(reference_join(log, WINDOW, None, WEIGHTS, windows))


@settings(max_examples=300, deadline=None)
@given(
    log=logs(loose=False, kinds=STRONG), shifts=shifts, ticks=ticks, after=st.one_of(st.integers(0, WINDOW), st.none())
)
def test_presumed_negatives_end_in_the_same_labels(
    log: list[Event], shifts: list[int], ticks: list[bool], after: int | None
) -> None:
    expected = {key: chain[-1][:2] for key, chain in chains(reference_join(log, WINDOW, None, WEIGHTS)).items()}
    joiner = LabelJoiner(WINDOW, None, 20, WEIGHTS, **presumption(after))
    got = chains(map(row, join(shuffled(log, shifts), joiner, ticks)))
    assert {key: chain[-1][:2] for key, chain in got.items()} == expected


def presumption(after: int | None) -> dict[str, Any]:
    """Arguments of a joiner that presumes after so many ms, or after waits of each impression's own."""
    return {"adaptive": ADAPTIVE} if after is None else {"presume_ms": after}


def chains(examples: Iterable[Row]) -> dict[tuple[Id, Id, int], list[tuple[int, float, str]]]:
    """For each impression what held after each of its examples; one first label, then only what undoes the last."""
    held: dict[tuple[Id, Id, int], list[tuple[int, float, str]]] = defaultdict(list)
    for user, item, request, label, weight, reason, event_time, _, undone in examples:
        if reason == "unprompted" or (undone is not None and undone[0] == "unprompted") or request is None:
            continue
        chain = held[user, item, event_time]
        if not chain:
            assert undone is None
            assert reason in ("action", "negative_action", "window", "responded_later", "immediate")
        elif undone is None:
            assert chain[-1][0] == label
            assert reason in (("action",) if label else ("negative_action", "retraction"))
            assert weight > 0
            weight += chain[-1][1]
        else:
            assert reason in (("reversal",) if label else ("retraction", "negative_action"))
            assert undone[1] != label
            assert undone[:3] == (chain[-1][2], chain[-1][0], chain[-1][1])
        chain.append((label, weight, reason))
    return held


@settings(max_examples=100, deadline=None)
@given(log=logs(), order=st.sampled_from([None, "group", "slate"]))
def test_batches_may_be_cut_anywhere(log: list[Event], order: Order) -> None:
    whole = LabelJoiner(WINDOW, order, 0, WEIGHTS)
    cut = LabelJoiner(WINDOW, order, 0, WEIGHTS)
    assert [e for event in log for e in cut.process([event])] == whole.process(log)
    half = len(log) // 2
    assert cut.advance(half) + cut.advance(END) == whole.advance(END)


@settings(max_examples=100, deadline=None)
@given(log=logs(), shifts=shifts, ticks=ticks, order=st.sampled_from([None, "group", "slate"]))
def test_nothing_is_left_in_memory(log: list[Event], shifts: list[int], ticks: list[bool], order: Order) -> None:
    joiner = LabelJoiner(WINDOW, order, 20, WEIGHTS, adaptive=None if order else ADAPTIVE)
    join(shuffled(log, shifts), joiner, ticks)
    joiner.advance(END + 2 * 86_400_000 + 3_600_000)
    memory = joiner._memory
    assert isinstance(memory, InMemory)
    near = memory.unsettled
    assert not any((near.actions, near.retractions, memory.retractable, memory.open._users, near.waiting._users))
    assert (len(memory.deduplicator), len(near.calendar), len(memory.groups)) == (0, 0, 0)
    assert len(memory.presumptions) == 0
    assert (joiner.pending, joiner.nbytes, joiner.oldest) == (0, 0, None)


@settings(max_examples=100, deadline=None)
@given(log=logs(), ticks=ticks, at=st.integers(0, 30), order=st.sampled_from([None, "group", "slate"]))
def test_a_forgotten_user_gives_no_more_examples(log: list[Event], ticks: list[bool], at: int, order: Order) -> None:
    joiner = LabelJoiner(WINDOW, order, 0, WEIGHTS)
    joiner.process(log[:at])
    joiner.forget_user("u")
    rest = [event for event in log[at:] if not (isinstance(event, Impression | Action) and event.user_id == "u")]
    examples = join(rest, joiner, ticks)
    assert all(example.user_id != "u" for example in examples)
    assert joiner.pending == 0


def test_reference_can_tell_a_wrong_join() -> None:
    log: list[Event] = [Impression(user_id=1, item_id=2, timestamp=0)]
    assert rows(LabelJoiner(WINDOW + 1).process(log)) != Counter(reference_join(log, WINDOW))
    with pytest.raises(AssertionError):
        chains([(1, 2, 3, 0, 1.0, "window", 0, 5, None), (1, 2, 3, 0, 1.0, "window", 0, 5, None)])
