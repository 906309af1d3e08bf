"""Heads learn from what was acted on: summed up, it is what a join over the complete log says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.labels import ActionKinds, Example, LabelJoiner
from stream_reco.learner.acted_impressions import MOST_IMPRESSIONS, MOST_OF_ONE_KIND, ActedImpressions
from stream_reco.train.head_trainer import KindExample
from stream_reco.train.kind_slots import KindSlots

START, WINDOW_MS = 1_700_000_000_000, 3_600_000
KINDS = ("click", "buy", "play", "dislike")
Step = tuple[int, str, int, int]
"""An impression, what happens (a kind, or "back": an action is taken back), when after it, and which or how much."""
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*KINDS, "back"]), st.integers(1, 1000), st.integers(0, 3)),
    max_size=14,
)


def log_of(steps: Sequence[Step]) -> list[Event]:
    """Four impressions of one user, each of an item of its own, and what follows, all at different times."""
    shown = [
        Impression(user_id=1, item_id=item, timestamp=START + item, event_id=f"i{item}", request_id=f"r{item}")
        for item in range(4)
    ]
    actions: dict[int, list[Action]] = {item: [] for item in range(4)}
    events: list[Event] = [*shown]
    for number, (item, what, delay, size) in enumerate(steps):
        time = START + delay * 1000 + number
        if what != "back":
            actions[item].append(
                Action(
                    user_id=1,
                    item_id=item,
                    action=what,
                    timestamp=time,
                    event_id=f"a{number}",
                    request_id=f"r{item}",
                    value=float(size) if what == "play" else None,
                )
            )
            events.append(actions[item][-1])
        elif actions[item]:
            taken = actions[item][size % len(actions[item])]
            back = Retraction(retracts=taken.event_id or "", user_id=1, timestamp=max(time, taken.timestamp + 1))
            events.append(back)
    return sorted(events, key=lambda event: event.timestamp)


def join(log: Sequence[Event], labels: dict[int, int]) -> Counter[tuple[int, str]]:
    """Of each item whose last label is 1: that it was acted on, kinds of positive actions that hold, their value."""
    gone = {event.retracts for event in log if isinstance(event, Retraction)}
    found: Counter[tuple[int, str]] = Counter()
    for item in (item for item, label in labels.items() if label == 1):
        holds = [one for one in log if isinstance(one, Action) and one.item_id == item and one.event_id not in gone]
        found[item, "acted"] = 1
        for one in holds:
            if one.action != "dislike":
                found[item, one.action] = 1
        found[item, "value"] = round(sum(one.value or 0.0 for one in holds))
    return +found


def positives(steps: Sequence[Step]) -> list[Step]:
    """Only these, and all within two minutes: labels are not further behind."""
    return [(item, what, 1 + delay % 120, size) for item, what, delay, size in steps if what not in ("back", "dislike")]


class Loop:
    """A joiner, and beside it what heads are told; `lag`: so many events later than these their labels come."""

    def __init__(self, lag: int) -> None:
        self.slots, kinds = KindSlots(), ActionKinds()
        self._kinds, self._lag = kinds, lag
        self._joiner = LabelJoiner(WINDOW_MS, lateness_ms=0, presume_ms=30_000)
        self._acted = ActedImpressions(self.slots, kinds, WINDOW_MS)
        self.told: Counter[tuple[int, str]] = Counter()
        self.labels: dict[int, int] = {}

    def run(self, log: Sequence[Event]) -> None:
        behind: list[list[Example]] = []
        back = {event.event_id: event for event in log if isinstance(event, Action)}
        taken: set[object] = set()
        for event in log:
            features = str(event.item_id).encode() if isinstance(event, Impression) else None
            behind.append(self._joiner.process([event], [features]) + self._joiner.advance(event.timestamp))
            if len(behind) > self._lag:
                self._label(behind.pop(0))
            if isinstance(event, Action) and self._kinds.sign(event) > 0:
                self._tell(self._acted.acted(event))
            elif isinstance(event, Retraction) and event.retracts not in taken:
                taken.add(event.retracts)
                if self._kinds.sign(back[event.retracts]) > 0:
                    self._tell(self._acted.withdrawn(back[event.retracts]))
        for examples in [*behind, self._joiner.advance(START + 3 * WINDOW_MS)]:
            self._label(examples)

    def _label(self, examples: Sequence[Example]) -> None:
        for example in examples:
            assert isinstance(example.item_id, int)
            self.labels[example.item_id] = example.label
            if self._acted.concerns(example):
                self._tell(self._acted.labelled(example))

    def _tell(self, examples: Sequence[KindExample]) -> None:
        for one in examples:
            item = int(one.inputs)
            self.told[item, "acted"] += round(one.mass)
            for slot, count in one.kinds:
                self.told[item, self.slots.kinds[slot]] += round(count)
            for _, value in one.values:
                self.told[item, "value"] += round(value)


def test_memory_is_bounded_and_less_while_there_is_one_kind() -> None:
    slots = KindSlots()
    acted = ActedImpressions(slots, ActionKinds(), WINDOW_MS)

    def click(item: int) -> None:
        example = Example(
            user_id=1,
            item_id=item,
            label=1,
            weight=1.0,
            reason="action",
            event_time=START + item,
            label_time=START + item,
            features=b"",
            action="click",
        )
        assert acted.labelled(example)[0].mass == 1

    for item in range(MOST_OF_ONE_KIND + 10):
        click(item)
    assert len(acted) == MOST_OF_ONE_KIND
    slots.slot_of("buy")
    others = range(10_000, 10_000 + MOST_IMPRESSIONS + 10)
    for item in others:
        click(item)
    assert len(acted) == MOST_IMPRESSIONS
    lost, kept = (
        Action(user_id=1, item_id=item, action="buy", timestamp=START + item + 1) for item in (others[9], others[10])
    )
    assert acted.acted(lost) == []
    assert acted.acted(kept)[0].kinds == [(1, 1.0)]


@settings(max_examples=200)
@given(STEPS)
def test_what_is_told_sums_up_to_the_join(steps: list[Step]) -> None:
    loop, log = Loop(lag=0), log_of(steps)
    loop.run(log)
    assert {key: count for key, count in loop.told.items() if count} == join(log, loop.labels)


@settings(max_examples=200)
@given(STEPS.map(positives), st.integers(0, 6))
def test_labels_may_be_behind_the_events(steps: list[Step], lag: int) -> None:
    loop, log = Loop(lag), log_of(steps)
    loop.run(log)
    assert {key: count for key, count in loop.told.items() if count} == join(log, loop.labels)
