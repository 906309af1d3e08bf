"""An action that is taken back, against a log in which it never was; and one person's voice, against plain lists."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action
from stream_reco.learner.stream_state import StreamState
from stream_reco.signals.counters import decayed_at, windowed
from stream_reco.signals.decayed_lists import EMPTY, Lists
from stream_reco.signals.observe import tallied
from stream_reco.signals.settings import SignalSettings
from stream_reco.train.settings import TrainSettings
from tests.signals.reference_signals import (
    ACTIONS,
    CONTEXTS,
    DAY,
    HOUR,
    MINUTE,
    NEXT,
    PAIRS,
    TOGETHER,
    WINDOWS,
    Item,
    ReferenceSignals,
    decayed,
)
from tests.signals.reference_signals import windowed as expected_window

START = 1_600_000_000_000
ITEMS: list[str] = [f"i{number}" for number in range(6)]


@dataclass
class Told:
    """Everything that one user did and did not take back: (time, arrival, item, kind)."""

    actions: list[tuple[int, int, Item, str]] = field(default_factory=list)
    counted: list[tuple[int, Item, str]] = field(default_factory=list)


def replay(actions: list[Action], span: int) -> ReferenceSignals:
    """What must be counted of actions in the order in which they came."""
    model, users = ReferenceSignals(10_000 * DAY, 10), dict[object, Told]()
    for known in ITEMS:
        model.admit(known)
    for arrival, one in enumerate(actions):
        told = users.setdefault(one.user_id, Told())
        like = [time for time, item, kind in told.counted if (item, kind) == (one.item_id, one.action)]
        if all(abs(one.timestamp - time) >= span for time in like):
            recent, said = list[tuple[Item, int]](), list[tuple[int, Item, str]]()
            for time, _, item, kind in sorted(told.actions, key=lambda other: other[:2], reverse=True)[:20]:
                if not any(other[1:] == (item, kind) and other[0] - time < span for other in said):
                    said.append((time, item, kind))
                    recent.append((item, time))
            model.act(one.item_id, recent, {str(k): str(v) for k, v in (one.context or {}).items()}, one.timestamp)
            told.counted.append((one.timestamp, one.item_id, one.action))
        told.actions.append((one.timestamp, arrival, one.item_id, one.action))
    return model


def agrees(state: StreamState, model: ReferenceSignals, now: int) -> None:
    counts, catalogue = state.signals.counts, state.signals.catalogue
    slots = {item: catalogue.slot_of(item) for item in model.items if catalogue.slot_of(item) >= 0}
    numbers = {value: int(state.signals.coder.encode({value[0]: value[1]}, 0).values.max()) for value in model.values}
    assert counts.everything.totals[0] == len(model.everything)
    for item, record in model.items.items():
        if item not in slots:
            assert not record.acted
            continue
        slot = slots[item]
        assert counts.items.totals[slot] == len(record.acted)
        got = decayed_at(counts.items, np.array([slot], np.int32), len(ACTIONS), now)[0]
        wanted = [decayed([(time, 1.0) for time in record.acted], half_life, now) for half_life in ACTIONS]
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
        for window, span in enumerate(WINDOWS):
            assert windowed(counts.items, slot, window, now) == pytest.approx(expected_window(record.acted, span, now))
        listed = (record.pairs, record.following, record.together)
        in_slots = [{slots[other]: times for other, times in rows.items()} for rows in listed]
        list_agrees(counts.pairs, slot, in_slots[0], PAIRS, now)
        list_agrees(counts.following, slot, in_slots[1], NEXT, now)
        list_agrees(counts.together, slot, in_slots[2], TOGETHER, now)
        inside = {numbers[value]: times for value, times in record.contexts.items()}
        list_agrees(counts.contexts, slot, inside, CONTEXTS, now)
    for value, number in numbers.items():
        keyed = {slots[item]: times for item, times in model.popular.get(value, {}).items()}
        list_agrees(counts.popular, number, keyed, CONTEXTS, now)
        assert tallied(counts.values, number, now) == pytest.approx(
            decayed(model.values[value], DAY, now), rel=1e-9, abs=1e-9
        )


def list_agrees(
    lists: Lists, row: int, wanted: dict[int, list[tuple[int, float]]], half_lives: tuple[int, ...], now: int
) -> None:
    number = lists.numbers[row]
    places = {int(key): place for place, key in enumerate(lists.keys[number]) if key != EMPTY}
    for key in places.keys() | wanted.keys():
        for kind, half_life in enumerate(half_lives):
            fade = math.exp2(-(now - int(lists.stamps[number])) / half_life)
            got = float(lists.weights[number, places[key], kind]) * fade if key in places else 0.0
            assert got == pytest.approx(decayed(wanted.get(key, []), half_life, now), rel=1e-3, abs=1e-3)
    # What nobody stands for any more must not be proposed either.
    assert {key for key in places if not wanted.get(key)} == set()


def new_state(once_seconds: float = 3600.0) -> StreamState:
    return StreamState(SignalSettings(once_seconds=once_seconds), TrainSettings(), frozenset())


def act(state: StreamState, event: Action) -> None:
    slot, context = state.admit(event)
    state.remember(event, slot, counted=state.count(event, slot, context))


STEP = st.tuples(
    st.sampled_from(["ann", 7]),
    st.sampled_from(ITEMS),
    st.sampled_from(["click", "click", "buy"]),
    st.sampled_from([0, 1, 20_000, 20 * MINUTE, 59 * MINUTE, HOUR, 13 * HOUR]),
    st.sampled_from([0, 0, 0, 1000, 30 * MINUTE, 2 * HOUR]),
    st.integers(0, 3),
)
"""User, item, kind, ms since the step before, ms late, and how many steps later it is taken back (0: never)."""


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=45), once_seconds=st.sampled_from([0.0, 3600.0]), delay=st.sampled_from([1, 9]))
def test_what_was_taken_back_might_never_have_been(
    steps: list[tuple[str | int, str, str, int, int, int]], once_seconds: float, delay: int
) -> None:
    state, now = new_state(once_seconds), START
    live: list[Action] = []
    leaving: dict[int, list[Action]] = {}
    for place, (user, item, kind, gap, late, life) in enumerate(steps):
        now += gap
        # The context follows from user and item, for an action that takes the place of another takes its context.
        event = Action(
            user_id=user, item_id=item, action=kind, timestamp=now - late, event_id=place, context={"page": item[1:]}
        )
        act(state, event)
        live.append(event)
        if life:
            leaving.setdefault(place + life * delay, []).append(event)
        for gone in leaving.pop(place, []):
            state.withdraw(gone)
            live = [one for one in live if one is not gone]
    for gone in (one for leaves in leaving.values() for one in leaves):
        state.withdraw(gone)
        live = [one for one in live if one is not gone]
    agrees(state, replay(live, round(once_seconds * 1000)), now)
    for user in ("ann", 7):
        history = state.histories.all(state.histories.row_of(user))
        mine = [(one.timestamp, place, one.item_id) for place, one in enumerate(live) if one.user_id == user]
        wanted = [(item, time) for time, _, item in sorted(mine, reverse=True)]
        ids = state.signals.catalogue.ids
        assert [(ids[slot], time) for slot, time in zip(history.slots, history.times, strict=True)] == wanted


def click(user: str, item: str, time: int, kind: str = "click") -> Action:
    return Action(user_id=user, item_id=item, action=kind, timestamp=time)


def total(state: StreamState, item: str) -> int:
    return int(state.signals.counts.items.totals[state.signals.catalogue.slot_of(item)])


def test_three_clicks_of_one_person_are_one_and_those_of_three_are_three() -> None:
    state = new_state()
    for second in range(3):
        act(state, click("ann", "a", START + second * 20_000))
        act(state, click(f"user {second}", "b", START + second * 20_000))
    act(state, click("ann", "a", START + 60_000, "buy"))
    assert (total(state, "a"), total(state, "b")) == (2, 3)
    act(state, click("ann", "a", START + HOUR))
    assert total(state, "a") == 3
    assert state.histories.seen(state.histories.row_of("ann")).tolist() == [0] * 5


def test_a_person_who_is_busy_is_one_voice_all_the_same() -> None:
    state = new_state()
    for step in range(60):
        act(state, click("ann", f"{step % 30}", START + step))
    assert {total(state, f"{item}") for item in range(30)} == {1}


def test_zero_seconds_count_all() -> None:
    state = new_state(0.0)
    for _ in range(3):
        act(state, click("ann", "a", START))
    assert total(state, "a") == 3


def test_an_action_that_the_history_has_lost_leaves_the_counters_all_the_same() -> None:
    state = new_state()
    act(state, click("ann", "a", START))
    state.histories.forget("ann")
    state.withdraw(click("ann", "a", START))
    assert total(state, "a") == 0
    state.withdraw(click("ann", "nothing of the kind", START))
