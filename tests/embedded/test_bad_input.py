"""Whatever is given to the engine, it takes what is right, refuses the rest with a reason, and stays sound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.train.settings import TrainSettings
from tests.embedded.journal.recovery_world import DAY, NOW, SETTINGS, differences, opened, whole_state

RARELY = replace(SETTINGS, training=TrainSettings(batch=16, checkpoint_events=10**9))
REASONS = {"json", "type", "schema", "id", "timestamp", "value", "too_large"}
WRONG: list[Any] = [None, True, 1.5, b"u", [], {}, object(), math.nan, -(2**63) - 1, 2**63, "", "x" * 10_000, "\ud800"]
"""No ids."""
IDS: list[Any] = [-(2**63), 2**63 - 1, 2**53 + 1, -1, 0, 1, "0", "1", "🦊", "👩‍👩‍👧", "\x00", " ", "e\u0301", "x" * 512]
NUMBERS: list[Any] = [
    0.0,
    -0.0,
    1.0,
    1e-300,
    1e300,
    -1e308,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    10**400,
    math.nan,
    math.inf,
    -math.inf,
    True,
    None,
    "1",
    [],
]
TIMES: list[Any] = [
    NOW,
    NOW - 1,
    NOW - DAY,
    NOW - 4000 * DAY,
    NOW + 300_000,
    NOW + 300_001,
    0,
    -1,
    2**62,
    -(2**63),
    2**63,
    NOW / 1000,
    float(NOW),
    math.nan,
    None,
    True,
    "now",
]
VALUES: list[Any] = [
    *NUMBERS,
    datetime(2020, 1, 1, tzinfo=UTC),
    "",
    "🦊" * 100,
    "x" * 10_000,
    {"a": {"b": []}},
    ["a", 1, None],
    b"b",
    object(),
    "\ud800",
]

some_id = st.sampled_from(IDS) | st.sampled_from([1, 2, 3, "a", "b"])
any_id = st.one_of(some_id, some_id, st.sampled_from(WRONG))
any_time = st.one_of(st.integers(NOW - DAY, NOW), st.integers(NOW - DAY, NOW), st.sampled_from(TIMES))
names = st.sampled_from(["k", "device", "", "🦊", "x" * 300, 5, None])
pairs = st.dictionaries(names, st.sampled_from(VALUES), max_size=4)
number = st.sampled_from([None, 1.0]) | st.sampled_from(NUMBERS)


def kind_of(struct: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(struct, timestamp=any_time, event_id=st.none() | any_id, **fields)


any_event = st.one_of(
    kind_of(
        Impression,
        user_id=any_id,
        item_id=any_id,
        request_id=st.none() | any_id,
        position=number,
        group_id=st.none() | any_id,
        propensity=number,
        context=st.none() | pairs,
    ),
    kind_of(
        Action,
        user_id=any_id,
        item_id=any_id,
        action=st.sampled_from(["click", "buy", "", "x" * 10_000, None, 5]),
        request_id=st.none() | any_id,
        value=number,
        context=st.none() | pairs,
    ),
    kind_of(Retraction, retracts=any_id, user_id=st.none() | any_id),
    kind_of(
        ItemEvent,
        item_id=any_id,
        features=pairs | st.sampled_from(WRONG),
        available=st.sampled_from([True, False, 3]),
        vector=st.sampled_from([None, [1.0, 2.0], [math.nan], [1e300], [], "no"]),
    ),
    kind_of(UserEvent, user_id=any_id, features=pairs),
    st.sampled_from([None, {}, "click", 5]),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("bad"), RARELY, clock=ManualClock(NOW)) as engine:
        yield engine


def passed_over() -> float:
    return metrics.REGISTRY.get_sample_value("stream_reco_events_rejected_total", {"reason": "internal"}) or 0.0


def assert_sound(engine: Engine) -> None:
    """Nothing that is learned or answered is damaged."""
    for table in engine.learner.queue.trainer.tables.values():
        table.check_invariants()
        assert np.isfinite(table.snapshot().vectors).all()
    assert all(np.isfinite(part).all() for part in engine.learner.queue.trainer.state().values())
    engine.sync()
    for user in (1, "🦊", -(2**63)):
        slate = engine.recommend(user, 20)
        assert all(0.0 <= one.score <= 1.0 for one in slate.items)
        engine.interests(user)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(any_event, max_size=12))
def test_whatever_comes_is_taken_or_refused_with_a_reason(engine: Engine, events: list[Any]) -> None:
    before, broken = engine.status()["events"], passed_over()
    assert isinstance(before, int)
    answer = engine.ingest(events)
    assert answer.accepted + answer.duplicates + len(answer.rejected) == len(events)
    assert {one.reason for one in answer.rejected} <= REASONS
    assert all(one.message and len(one.message) < 600 for one in answer.rejected)
    places = [one.index for one in answer.rejected]
    assert places == sorted(set(places))
    assert engine.status()["events"] == before + answer.accepted
    assert passed_over() == broken, "what was let in can be learned from"
    assert engine.stream_time <= NOW + 300_000


def test_what_was_let_in_left_nothing_damaged_and_comes_back(engine: Engine) -> None:
    """After the test above, which fills the engine."""
    assert_sound(engine)
    learned = whole_state(engine)
    folder = engine.journaled._journal._log.path.parents[1] if engine.journaled._journal._log is not None else Path()
    engine.close()
    with Engine(folder, RARELY, clock=ManualClock(NOW)) as again:
        assert differences(whole_state(again), learned) == []


def good(number: int, at: int) -> Action:
    return Action(user_id=f"u{number % 9}", item_id=number % 13, action="click", timestamp=at, event_id=f"g{number}")


def bad(number: int) -> list[tuple[Event, str]]:
    wrong: Any = WRONG[number % len(WRONG)]
    nan = (math.nan, math.inf, -math.inf)[number % 3]
    return [
        (Action(user_id=wrong, item_id=1, action="click", timestamp=NOW), "id"),
        (Impression(user_id=1, item_id=wrong, timestamp=NOW), "id"),
        (Action(user_id=1, item_id=1, action="buy", timestamp=NOW, value=nan), "value"),
        (ItemEvent(item_id=1, timestamp=NOW, features={}, vector=[0.0, nan]), "value"),
        (Impression(user_id=1, item_id=1, timestamp=NOW, context={"x": nan}), "value"),
        (Action(user_id=1, item_id=1, action="click", timestamp=NOW + 300_001 + number), "timestamp"),
        (UserEvent(user_id=1, timestamp=NOW, features={"x": "🦊" * 10_000}), "too_large"),
    ]


@pytest.mark.parametrize("features", [{5: "x"}, {"x": datetime(2020, 1, 1, tzinfo=UTC)}, {"x": {1: 2}}, {None: 1}])
def test_what_the_log_could_not_give_back_is_refused(tmp_path: Path, features: Any) -> None:
    """JSON would have made text of it."""
    with opened(tmp_path) as engine:
        events: list[Event] = [
            ItemEvent(item_id=1, timestamp=NOW, features=features),
            UserEvent(user_id=1, timestamp=NOW, features=features),
            Action(user_id=1, item_id=1, action="click", timestamp=NOW, context=features),
            good(1, NOW),
        ]
        answer = engine.ingest(events)
        assert answer.accepted == 1
        assert {one.reason for one in answer.rejected} <= {"schema", "value"}
    with opened(tmp_path) as engine:
        assert engine.status()["events"] == 1


def test_bad_ones_among_good_ones_change_nothing() -> None:
    """The same as if the bad ones had never come, to the bit."""
    with opened(None) as mixed, opened(None) as clean:
        for first in range(0, 120, 8):
            some: Sequence[Event] = [good(number, NOW - DAY + number * 60_000) for number in range(first, first + 8)]
            evil = bad(first // 8)
            order = np.random.default_rng(first).permutation(15).tolist()
            both = [*some, *(event for event, _ in evil)]
            answer = mixed.ingest([both[place] for place in order])
            reasons = {order[one.index] - 8: one.reason for one in answer.rejected}
            assert reasons == {place: reason for place, (_, reason) in enumerate(evil)}
            assert clean.ingest([both[place] for place in order if place < 8]).accepted == answer.accepted == 8
        assert differences(whole_state(mixed), whole_state(clean)) == []
        assert_sound(mixed)


def test_late_and_disordered_and_repeated_ones_are_learned_once(engine_of_its_own: Engine) -> None:
    engine, rng = engine_of_its_own, np.random.default_rng(4)
    events = [good(number, NOW - int(rng.integers(DAY))) for number in range(200)]
    sent = [events[place] for place in rng.integers(0, 200, size=500)]
    for first in range(0, 500, 25):
        engine.ingest(sent[first : first + 25])
    assert engine.status()["events"] == len({event.event_id for event in sent})
    assert engine.status()["examples"] == engine.status()["events"]
    assert_sound(engine)


@pytest.fixture
def engine_of_its_own() -> Iterator[Engine]:
    with Engine(None, RARELY, clock=ManualClock(NOW)) as engine:
        yield engine
