"""The replay protocol on a loop that only remembers, and against a slow reference that asks one event at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction
from stream_reco.experiments.replay.protocol import MOST_EVENTS, Plan, Replay
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.labels import LabelJoiner
from stream_reco.serve.service import Accepted
from stream_reco.serve.slate.pending_slates import PendingSlates
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Slate, SlateItem

T = 1_507_000_000_000


@dataclass
class ToyLoop:
    """Recommends what others acted on before the last sync, without what the user acted on until now."""

    done: list[str] = field(default_factory=list)
    acted: list[Action] = field(default_factory=list)
    served: list[Id] = field(default_factory=list)
    slates: list[tuple[Id, int, tuple[Id, ...]]] = field(default_factory=list)
    seen_ids: set[Id] = field(default_factory=set)

    def ingest(self, events: Sequence[Event]) -> Accepted:
        self.done.append(f"ingest {len(events)}")
        new = []
        for event in events:
            if event.event_id is None or event.event_id not in self.seen_ids:
                new.append(event)
            if event.event_id is not None:
                self.seen_ids.add(event.event_id)
        for event in new:
            if isinstance(event, Action):
                self.acted.append(event)
            elif isinstance(event, Retraction):
                self.acted = [action for action in self.acted if action.event_id != event.retracts]
        return Accepted(len(new), len(events) - len(new))

    def recommend_async(self, requests: Sequence[Request]) -> PendingSlates:
        self.done.append(f"recommend {len(requests)}")
        answers = []
        for request in requests:
            own = {action.item_id for action in self.acted if action.user_id == request.user_id}
            items = [item for item in self.served if item not in own][: request.k]
            assert request.now is not None
            self.slates.append((request.user_id, request.now, tuple(items)))
            answers.append(Slate("r", 1, [SlateItem(item, 0.5, "toy", 1.0) for item in items]))
        return PendingSlates(lambda: (answers, 0.0))

    def sync(self) -> int:
        self.done.append("sync")
        counts: dict[Id, int] = {}
        for action in self.acted:
            counts[action.item_id] = counts.get(action.item_id, 0) + 1
        self.served = sorted(counts, key=lambda item: (-counts[item], str(item)))
        return 1

    def finish(self) -> None:
        self.done.append("finish")


def log_of(events: Sequence[Event]) -> Log:
    return Log("toy", [ListedRows(events)], DeadLetters())


def click(user: Id, item: Id, seconds: float, **more: object) -> Action:
    made = {"user_id": user, "item_id": item, "action": "click", "timestamp": T + round(seconds * 1000)} | more
    return Action(**made)  # type: ignore[arg-type] # any field


def run(
    events: Sequence[Event], warm_up: int, seconds: float | None, *, repeats: bool = True
) -> tuple[ToyLoop, ReplayTally]:
    loop, tally = ToyLoop(), ReplayTally()
    joiner = LabelJoiner(positive_from={"rating": 4.0}, action_weights={"view": 0.0})
    interval = None if seconds is None else round(seconds * 1000)
    Replay(loop, Plan(warm_up, interval, joiner.weight, repeats), tally).run(log_of(events))
    return loop, tally


def test_users_who_repeat_end_a_batch() -> None:
    events = [click(0, 9, 0), click(1, 9, 1), click(2, 9, 2), click(1, 8, 3), click(3, 9, 4)]
    loop, tally = run(events, 1, 60)
    assert loop.done == [
        "ingest 1",
        "sync",
        "recommend 2",
        "ingest 2",
        "recommend 2",
        "ingest 2",
        "finish",
        "sync",
    ]
    assert loop.slates[2] == (1, T + 3000, ())  # user 1 has seen 9 by now
    assert tally.ranking.count == 4
    assert tally.ranking.hit_rate == 3 / 4


def test_an_event_that_is_not_evaluated_ends_a_batch_too_where_its_user_is_asked_for() -> None:
    low = click(1, 7, 1, action="rating", value=3.0)
    loop, tally = run([click(0, 7, 0), low, click(2, 7, 2), click(1, 7, 3)], 1, None)
    assert loop.done == ["ingest 1", "sync", "recommend 1", "ingest 2", "recommend 1", "ingest 1", "finish", "sync"]
    assert loop.slates[-1] == (1, T + 3000, ())
    assert tally.ranking.count == 2


def test_a_retraction_without_its_user_ends_a_batch_for_everyone() -> None:
    events: list[Event] = [
        click(1, 7, 0, event_id="a"),
        Retraction(retracts="a", timestamp=T + 1000),
        click(1, 7, 2),
    ]
    loop, tally = run(events, 1, None)
    assert loop.slates == [(1, T + 2000, (7,))]
    assert tally.ranking.hit_rate == 1.0


def test_syncs_come_at_boundaries_of_event_time_that_start_with_the_evaluation() -> None:
    events = [click(i, i, seconds) for i, seconds in enumerate([0, 100, 105, 110, 119, 1000, 1005])]
    loop, tally = run(events, 1, 10)
    # Boundaries 110, 120, 1000: one sync stands for all that nothing happened between.
    assert loop.done == [
        "ingest 1",
        "sync",
        "recommend 2",
        "ingest 2",
        "sync",
        "recommend 2",
        "ingest 2",
        "sync",
        "recommend 2",
        "ingest 2",
        "finish",
        "sync",
    ]
    # 100 → 110, 105 → 110, 110 → 120, 119 → 120; what comes after the last boundary was not served.
    assert tally.freshness.count == 4
    assert tally.freshness.percentile(50) == pytest.approx(5, rel=0.02)
    assert tally.freshness.percentile(100) == pytest.approx(10, rel=0.02)


def test_without_syncs_what_was_served_stays_that_of_the_warm_up() -> None:
    loop, tally = run([click(0, 1, 0), click(1, 2, 1), click(2, 2, 900), click(3, 1, 9000)], 1, None)
    assert [items for _, _, items in loop.slates] == [(1,)] * 3
    assert tally.freshness.count == 0


def test_impressions_items_ignored_kinds_and_low_ratings_are_learned_but_not_evaluated() -> None:
    events: list[Event] = [
        click(0, 1, 0),
        Impression(user_id=1, item_id=1, timestamp=T + 1),
        ItemEvent(item_id=1, timestamp=T + 2),
        click(1, 1, 1, action="view"),
        click(2, 1, 2, action="rating", value=3.5),
        click(3, 1, 3, action="rating", value=4.0),
    ]
    loop, tally = run(events, 1, 60)
    assert [user for user, _, _ in loop.slates] == [3]
    assert tally.events == 6


def test_a_repeated_event_is_not_evaluated_again() -> None:
    events = [click(0, 1, 0, event_id="w"), click(1, 1, 1, event_id="e"), click(1, 1, 2, event_id="e")]
    events += [click(2, 1, 3, event_id="w")]
    loop, tally = run(events, 1, 60)
    assert tally.duplicates == 2
    assert [user for user, _, _ in loop.slates] == [1]


@pytest.mark.parametrize("warm_up", [0, 3, 99])
def test_any_warm_up_ends_well(warm_up: int) -> None:
    loop, tally = run([click(i, 1, i) for i in range(3)], warm_up, 60)
    assert tally.ranking.count == max(0, 3 - warm_up)
    assert loop.done[-2:] == ["finish", "sync"]


def test_an_empty_log_ends_well() -> None:
    loop, tally = run([], 0, 60)
    assert loop.done == ["finish", "sync"]
    assert tally.ranking.as_dict()["hr@10"] is None


def test_batches_are_bounded() -> None:
    loop, _ = run([click(i, 1, 0) for i in range(2 * MOST_EVENTS + 1)], 0, None)
    sizes = [int(done.split()[1]) for done in loop.done if done.startswith("ingest")]
    assert sizes == [MOST_EVENTS, MOST_EVENTS, 1]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 100)), max_size=40),
    st.integers(0, 20),
    st.sampled_from([None, 0.5, 7, 60]),
)
def test_batches_give_the_slates_of_one_event_at_a_time(
    clicks: list[tuple[int, int, float]], warm_up: int, seconds: float | None
) -> None:
    events = sorted((click(*one) for one in clicks), key=lambda event: event.timestamp)
    loop, tally = run(events, warm_up, seconds, repeats=False)
    slow = _one_at_a_time(events, warm_up, seconds)
    assert loop.slates == slow.slates
    assert tally.events == len(events)
    assert tally.ranking.count == max(0, len(events) - warm_up)


def _one_at_a_time(events: Sequence[Action], warm_up: int, seconds: float | None) -> ToyLoop:
    loop = ToyLoop()
    if len(events) <= warm_up:
        return loop
    start = events[warm_up].timestamp
    interval = np.inf if seconds is None else seconds * 1000
    version = -1
    for place, event in enumerate(events):
        if place >= warm_up:
            if (due := int((event.timestamp - start) // interval)) > version:
                loop.sync()
                version = due
            loop.recommend_async([Request(event.user_id, 10, event.timestamp)])
        loop.ingest([event])
    return loop
