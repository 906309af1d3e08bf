"""What the engine promises: which events it takes, what it knows of them, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine, Ingested
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.labels.settings import LabelSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.request import Request
from stream_reco.serve.slate.slate import Slate
from stream_reco.signals.settings import SignalSettings
from stream_reco.storage.event_log import LogBusyError, LogError
from stream_reco.train.settings import TrainSettings

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_760_000_000_000
"""The wall clock of these tests, ms."""
START = NOW - 2 * HOUR
AT_ONCE = TrainSettings(wait_seconds=0.0)
SHORT = Settings(labels=LabelSettings(policy="conclusive", window_days=1 / 24), training=AT_ONCE)
LEARNS_AT_ONCE = Settings(labels=LabelSettings(window_days=1 / 24), training=AT_ONCE)
"""Impressions wait an hour."""
STRANGE_IDS: list[Id] = [
    -(2**63),
    2**63 - 1,
    2**53 + 1,
    2**53,
    -1,
    0,
    5,
    "5",
    "-1",
    "0",
    "9007199254740993",
    "🦊",
    "é",
    "e\u0301",
    " ",
    "a" * 512,
    "\x00",
    '"quoted"',
    "null",
]


def opened(folder: Path | None = None, settings: Settings | None = None) -> Engine:
    return Engine(folder, settings or Settings(training=AT_ONCE), clock=ManualClock(NOW))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with opened() as engine:
        yield engine


@pytest.fixture
def certain() -> Iterator[Engine]:
    """Nothing of its slates is left to chance, so that equal states give equal ones."""
    with opened(settings=Settings(training=AT_ONCE, slate=SlateSettings(explore=0.0))) as engine:
        yield engine


def click(user: Id, item: Id, at: int = START, event_id: Id | None = None, action: str = "click") -> Action:
    return Action(user_id=user, item_id=item, action=action, timestamp=at, event_id=event_id)


def clicks(users: Sequence[Id], items: Sequence[Id], at: int = START) -> list[Event]:
    """Every user clicks on every item, a second apart."""
    pairs = [(user, item) for user in users for item in items]
    return [click(user, item, at + 1000 * number) for number, (user, item) in enumerate(pairs)]


def ids(slate: Slate) -> list[Id]:
    return [item.item_id for item in slate.items]


def seen_by(engine: Engine, user: Id, among: Sequence[Id]) -> set[Id]:
    """The items that the engine knows a user to have acted on: those it never recommends to them."""
    return set(among) - set(ids(engine.recommend(user, 100)))


class Labels:
    """Notes the labels that the trainer is given, without those of sampled negatives."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        assert labels.shape == predictions.shape == weights.shape
        if not sampled:
            self.seen += labels.tolist()


# --- which events enter


def test_events_are_counted_once_by_their_id(engine: Engine) -> None:
    first = [click("u", "a", START, "e1"), click("u", "b", START, "e2"), click("u", "c", START, "e1")]
    assert engine.ingest(first) == Ingested(2, 1, [])
    assert engine.ingest([]) == Ingested(0, 0, [])
    again = engine.ingest([click("v", "z", START + 1, "e2"), click("u", "d", START, 1), click("u", "d", START, "1")])
    assert (again.accepted, again.duplicates) == (2, 1)
    assert engine.status()["events"] == 4
    engine.sync()
    assert seen_by(engine, "u", ["a", "b", "c", "d"]) == {"a", "b", "c", "d"}, "c is no item at all: its event is e1's"
    assert [engine.similar(item) for item in ("c", "z")] == [None, None], "what a repeated event says is not looked at"


def test_a_repeated_event_changes_nothing_that_can_be_asked_for(engine: Engine) -> None:
    events = [click(user, item, START + 1000 * user, f"{user}-{item}") for user in range(5) for item in "abcdef"]
    engine.ingest(events[:-3])
    engine.sync()
    before = engine.score(2, list("abcdef")).tobytes(), engine.interests(2), engine.status()
    answer = engine.ingest(events[:-3])
    assert (answer.accepted, answer.duplicates) == (0, len(events) - 3)
    engine.sync()
    after = engine.score(2, list("abcdef")).tobytes(), engine.interests(2), engine.status()
    assert after[:2] == before[:2]
    assert {name: after[2][name] for name in ("events", "examples", "rows", "tables", "log_position")} == {
        name: before[2][name] for name in ("events", "examples", "rows", "tables", "log_position")
    }


def test_ids_of_all_kinds_of_events_are_one_space(engine: Engine) -> None:
    engine.ingest([ItemEvent(item_id="a", timestamp=START, event_id="x")])
    others: list[Event] = [
        Impression(user_id=1, item_id=2, timestamp=START, event_id="x"),
        UserEvent(user_id=1, timestamp=START, event_id="x"),
        Retraction(retracts="y", timestamp=START, event_id="x"),
    ]
    assert engine.ingest(others).duplicates == 3


def test_events_without_an_id_are_never_duplicates(engine: Engine) -> None:
    same = click("u", "a")
    assert engine.ingest([same, same]).accepted == 2
    assert engine.ingest([same]).accepted == 1
    assert engine.status()["events"] == 3
    assert engine.status()["examples"] == 3


@pytest.mark.parametrize("checkpointed", [False, True])
def test_duplicates_are_known_after_a_restart(tmp_path: Path, checkpointed: bool) -> None:
    with opened(tmp_path) as engine:
        engine.ingest([click("u", "a", START, "e"), click("u", "a", START, 7)])
        if checkpointed:
            engine.checkpoint()
    with opened(tmp_path) as engine:
        answer = engine.ingest([click("u", "b", START, "e"), click("u", "b", START, 7), click("u", "b", START, "7")])
        assert (answer.accepted, answer.duplicates) == (1, 2)
        assert engine.status()["events"] == 3


def test_bad_events_are_refused_with_their_reason_and_the_others_taken(engine: Engine) -> None:
    good = [click("u", "a", START, "g1"), click("u", "b", START, "g2")]
    bad: list[tuple[Event, str]] = [
        (click("", "a"), "id"),
        (click("u", "x" * 513), "id"),
        (click(2**63, "a"), "id"),
        (click("u", "\ud800"), "id"),
        (Action(user_id="u", item_id="a", action="buy", value=math.nan, timestamp=START), "value"),
        (Action(user_id="u", item_id="a", action="buy", value=math.inf, timestamp=START), "value"),
        (Impression(user_id="u", item_id="a", timestamp=START, context={"x": -math.inf}), "value"),
        (Impression(user_id="u", item_id="a", timestamp=START, propensity=0.0), "value"),
        (Impression(user_id="u", item_id="a", timestamp=START, position=-1), "value"),
        (click("u", "a", START // 1000), "timestamp"),
        (click("u", "a", NOW + 300_001), "timestamp"),
        (click("u", "a", START * 1000), "timestamp"),
        (ItemEvent(item_id="a", timestamp=START, features={"x": "y" * 5000}), "too_large"),
    ]
    answer = engine.ingest([good[0], *(event for event, _ in bad), good[1], good[0]])
    assert (answer.accepted, answer.duplicates) == (2, 1)
    assert [one.index for one in answer.rejected] == list(range(1, len(bad) + 1))
    assert [one.reason for one in answer.rejected] == [reason for _, reason in bad]
    assert all(len(one.message) < 400 for one in answer.rejected)
    assert engine.status()["events"] == 2
    assert engine.status()["users"] == 1


def test_a_refused_event_may_come_again_once_it_is_right(engine: Engine) -> None:
    assert engine.ingest([click("", "a", START, "e")]).rejected
    assert engine.ingest([click("u", "a", START, "e")]).accepted == 1


def test_up_to_the_future_bound_events_move_time(engine: Engine) -> None:
    assert engine.ingest([click("u", "a", NOW + 300_000)]).accepted == 1
    assert engine.stream_time == NOW + 300_000


def test_late_events_are_taken_and_do_not_turn_time_back(engine: Engine) -> None:
    engine.ingest([click("u", "a", START)])
    assert engine.ingest([click("u", "b", START - 30 * DAY), click("v", "b", START - 3650 * DAY)]).accepted == 2
    assert engine.stream_time == START
    assert (engine.status()["events"], engine.status()["examples"]) == (3, 3)
    engine.sync()
    assert seen_by(engine, "u", ["a", "b"]) == {"a", "b"}


def test_disordered_events_end_in_the_same_history() -> None:
    events = clicks(["u"], list(range(30)))
    answers = []
    for order in (events, events[::-1], events[15:] + events[:15]):
        with opened() as engine:
            engine.ingest(clicks(["other"], list(range(40)), START - HOUR))
            for event in order:
                engine.ingest([event])
            engine.sync()
            assert seen_by(engine, "u", range(40)) == set(range(30))
            answers.append(engine.stream_time)
    assert len(set(answers)) == 1


# --- ids


def test_strange_ids_survive_and_stay_apart() -> None:
    with opened() as engine:
        for number, user in enumerate(STRANGE_IDS):
            assert engine.ingest([click(user, item, START + number) for item in STRANGE_IDS if item != user]).accepted
        engine.sync()
        status = engine.status()
        assert (status["users"], status["items"]) == (len(STRANGE_IDS), len(STRANGE_IDS))
        counts = {"item": len(STRANGE_IDS), "user": len(STRANGE_IDS), "context": 0, "content": 0, "encoder": 0}
        assert status["tables"] == counts
        for user in STRANGE_IDS:
            (item,) = engine.recommend(user, 100).items
            assert (type(item.item_id), item.item_id) == (type(user), user), "the one item that this user did not see"
        assert sorted(map(repr, ids(engine.recommend("stranger", 100)))) == sorted(map(repr, STRANGE_IDS))
        assert (engine.score("stranger", STRANGE_IDS) > 0).all()


def test_a_number_and_its_text_are_different_items_and_users(engine: Engine) -> None:
    engine.ingest([*clicks([5, 6], [5, 7, 8]), *clicks(["5"], ["9"], START + HOUR)])
    engine.sync()
    assert engine.similar(5) is not None
    assert engine.similar("5") is None
    assert engine.score(5, [5]) != engine.score(5, ["5"])
    assert engine.similar("5") is None
    assert engine.similar(5) is not None
    assert seen_by(engine, "5", [5, 7, 8, "9"]) == {"9"}
    assert seen_by(engine, 5, [5, 7, 8, "9"]) == {5, 7, 8}
    engine.ingest([click("5", "9", START + HOUR + MINUTE), click(5, 7, START + HOUR + MINUTE)])
    assert {one.item_id for one in engine.interests("5")} == {"9"}
    assert {one.item_id for one in engine.interests(5)} <= {5, 7, 8}
    engine.forget("5")
    assert engine.interests(5) != []


# --- answers


def test_an_empty_engine_answers(engine: Engine) -> None:
    assert engine.recommend("u", 10).items == []
    assert engine.recommend_many([]) == []
    assert engine.score("u", ["a", "b"]).tolist() == [0, 0]
    assert engine.score("u", []).shape == (0,)
    assert engine.similar("a") is None
    assert engine.interests("u") == []
    assert engine.stream_time == 0
    engine.forget("u")
    engine.tick(START)
    assert engine.sync() == 1
    assert engine.recommend("u", 10).items == []


def test_a_catalogue_without_any_click_is_recommended(engine: Engine) -> None:
    engine.ingest([ItemEvent(item_id=item, timestamp=START) for item in "abc"])
    engine.sync()
    assert sorted(map(str, ids(engine.recommend("u", 10)))) == ["a", "b", "c"]


def test_more_than_there_is_gives_all_there_is_and_each_once(engine: Engine) -> None:
    engine.ingest(clicks(range(4), range(20)))
    engine.sync()
    for k in (1, 7, 20, 1000):
        answer = ids(engine.recommend("stranger", k))
        assert len(answer) == len(set(answer)) == min(k, 20)
    assert engine.recommend(2, 1000).items == []


def test_answers_are_sorted_probabilities_of_one_version(certain: Engine) -> None:
    certain.ingest([*clicks(range(20), range(12)), *clicks([99], [3])])
    version = certain.sync()
    slate = certain.recommend(99, 5)
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 and item.source for score, item in zip(scores, slate.items, strict=True))
    assert slate.version == version == certain.status()["version"]
    assert np.allclose(certain.score(99, ids(slate)), scores, atol=1e-6)


def test_many_requests_get_what_each_would_get_alone(certain: Engine) -> None:
    certain.ingest(clicks(range(10), range(0, 30, 2)) + clicks(range(5, 15), range(1, 30, 3), START + HOUR))
    certain.sync()
    requests = [Request(user, 3 + user % 4, exclude=(user,)) for user in range(50)]
    together = certain.recommend_many(requests)
    alone = [certain.recommend(one.user_id, one.k, exclude=one.exclude) for one in requests]
    assert len({slate.request_id for slate in [*together, *alone]}) == 100
    for one, other in zip(together, alone, strict=True):
        assert ids(one) == ids(other)
        assert np.allclose([item.score for item in one.items], [item.score for item in other.items], atol=1e-6)


def test_slates_that_come_later_are_those_of_the_moment_they_were_asked_for(certain: Engine) -> None:
    assert [slate.items for slate in certain.recommend_async([Request("u")] * 3).slates()] == [[]] * 3
    certain.ingest(clicks(range(10), range(0, 30, 2)))
    certain.sync()
    requests = [Request(user, 5) for user in range(50)]
    expected = certain.recommend_many(requests)
    soon, looked_at = certain.recommend_async(requests), certain.recommend_async(requests)
    certain.ingest(clicks(range(5, 50), range(30), START + HOUR))
    assert [ids(slate) for slate in looked_at.slates()] == [ids(slate) for slate in expected]
    certain.sync()
    found = soon.slates()
    assert soon.slates() is found
    assert [ids(slate) for slate in found] == [ids(slate) for slate in expected]
    assert {slate.version for slate in found} == {slate.version for slate in expected}
    assert soon.seconds > 0
    assert [ids(slate) for slate in certain.recommend_many(requests)] != [ids(slate) for slate in expected]
    assert certain.recommend_async([]).slates() == []


def test_a_new_item_that_people_act_on_is_shown_to_strangers() -> None:
    """In a shop where the same few items are bought all the time, so that nothing speaks for a new one."""
    with opened() as engine:
        for round_ in range(40):
            engine.ingest(clicks([f"{round_}-{user}" for user in range(3)], range(30), START + round_ * 2 * MINUTE))
        at = START + HOUR + 30 * MINUTE
        engine.ingest([click(f"early{number}", "new", at + number) for number in range(20)])
        engine.sync()
        assert "new" in ids(engine.recommend("stranger", 20))


def test_scores_are_finite_whatever_the_moment_and_the_context(engine: Engine) -> None:
    engine.ingest(clicks(range(10), range(15)))
    engine.sync()
    contexts: list[dict[str, str | int | float | bool | None] | None] = [
        None,
        {},
        {"a": None, "b": True, "c": 1.5, "d": "x", "e": 2**62, "f": -(2**63)},
        {str(i): i for i in range(50)},
    ]
    for now in (None, 0, START - 3650 * DAY, START, NOW, NOW + 3650 * DAY):
        for context in contexts:
            for user in (3, "stranger"):
                scores = engine.score(user, [*range(15), "unknown"], now=now, context=context)
                assert scores.dtype == np.float32
                assert np.isfinite(scores).all()
                assert ((scores >= 0) & (scores <= 1)).all()


def test_what_is_excluded_or_filtered_is_not_answered(engine: Engine) -> None:
    engine.ingest(
        [
            ItemEvent(item_id="a", timestamp=START, features={"genre": ["war", "love"], "year": 1999}),
            ItemEvent(item_id="b", timestamp=START, features={"genre": "war", "year": 2001}),
            ItemEvent(item_id="c", timestamp=START, features={"genre": [], "year": 1999}),
            *clicks(["v"], ["a", "b", "c", "undescribed"]),
        ]
    )
    engine.sync()

    def answer(exclude: Sequence[Id] = (), **filters: object) -> str:
        slate = engine.recommend("u", 10, exclude=exclude, filters=filters)
        return "".join(sorted(str(item)[0] for item in ids(slate)))

    assert answer() == "abcu"
    assert answer(exclude=["a", "nonsense", 5]) == "bcu"
    assert answer(genre="war") == "ab"
    assert answer(genre=["love", "none"]) == "a"
    assert answer(genre="war", year=1999) == "a"
    assert answer(exclude=["a"], year=[1999, 2001]) == "bc"
    assert answer(nothing="x") == ""


def test_what_is_unavailable_is_never_served_and_comes_back(engine: Engine) -> None:
    engine.ingest(clicks(range(5), ["a", "b", "c"]))
    engine.sync()
    for available in (False, True, False):
        engine.ingest([ItemEvent(item_id="b", timestamp=START + HOUR, available=available)])
        engine.ingest(clicks([1, 2], ["b"], START + HOUR))
        engine.sync()
        assert ("b" in ids(engine.recommend("u", 10))) is available
        assert ("b" in [near.item_id for near in engine.similar("a") or []]) is available


def test_an_item_that_was_never_available_is_not_served(engine: Engine) -> None:
    engine.ingest([ItemEvent(item_id="a", timestamp=START, available=False), *clicks([1], ["a", "b"])])
    engine.sync()
    assert ids(engine.recommend("u", 10)) == ["b"]


# --- frozen and current


def test_everything_but_the_user_is_frozen_between_syncs(engine: Engine) -> None:
    engine.ingest(clicks(range(8), list("abcdef")))
    engine.sync()
    before = engine.recommend("stranger", 10, now=NOW), engine.score("stranger", list("abcdefg"), now=NOW)
    gone = ItemEvent(item_id="b", timestamp=START, available=False)
    engine.ingest([*clicks(range(8, 20), ["a", "g"], START + MINUTE), gone])
    after = engine.recommend("stranger", 10, now=NOW), engine.score("stranger", list("abcdefg"), now=NOW)
    assert after[0].items == before[0].items
    assert after[1].tobytes() == before[1].tobytes()
    engine.sync()
    assert set(ids(engine.recommend("stranger", 10))) == set("acdefg")


def test_a_users_own_action_counts_at_once(engine: Engine) -> None:
    engine.ingest(clicks(range(20), list("abcdefgh")) + clicks(["u"], ["a"]))
    engine.sync()
    scores = engine.score("u", list("cdefgh"))
    assert "b" in ids(engine.recommend("u", 10))
    engine.ingest([click("u", "b", START + MINUTE)])
    assert "b" not in ids(engine.recommend("u", 10))
    assert engine.score("u", list("cdefgh")).tolist() != scores.tolist(), "the history is an input of the model"
    assert "b" in [one.item_id for one in engine.interests("u")] or len(engine.interests("u")) == 1


def test_a_user_who_acted_on_a_new_item_is_served_before_it_is_published(engine: Engine) -> None:
    engine.ingest(clicks(range(20), list("abcdefgh")))
    engine.sync()
    engine.ingest([click("u", f"new{number}", START + number) for number in range(3000)])
    slate = engine.recommend("u", 10)
    assert len(slate.items) == 8
    assert np.isfinite(engine.score("u", ["a", "new7"])).all()
    engine.interests("u")


def test_what_users_click_now_is_recommended_after_a_sync(engine: Engine) -> None:
    engine.ingest(clicks(range(40), range(50)))
    engine.sync()
    engine.ingest([click(f"n{number}", "brand new", START + HOUR + number * 100) for number in range(20)])
    assert "brand new" not in ids(engine.recommend("stranger", 20))
    engine.sync()
    assert "brand new" in ids(engine.recommend("stranger", 20))


# --- labels


def test_an_impression_without_an_action_becomes_a_negative_when_time_passes() -> None:
    labels = Labels()
    with Engine(None, SHORT, observer=labels, clock=ManualClock(NOW)) as engine:
        engine.ingest(clicks([1], ["a"]))
        engine.sync()
        engine.ingest([Impression(user_id="u", item_id="a", request_id="r", timestamp=START, event_id="i")])
        assert (engine.status()["pending"], labels.seen) == (1, [])
        engine.ingest([UserEvent(user_id="v", timestamp=START + HOUR + MINUTE)])
        assert labels.seen == [], "the deadline is not passed before the lateness is over too"
        engine.ingest([UserEvent(user_id="v", timestamp=START + HOUR + MINUTE + 1)])
        assert (engine.status()["pending"], labels.seen) == (0, [0.0])
        engine.tick(NOW)
        engine.sync()
        assert labels.seen == [0.0], "once"


def test_an_action_on_an_impression_is_a_positive_at_once_and_no_negative_later() -> None:
    labels = Labels()
    with Engine(None, LEARNS_AT_ONCE, observer=labels, clock=ManualClock(NOW)) as engine:
        engine.ingest(clicks([1], ["a"]))
        engine.sync()
        engine.ingest([Impression(user_id="u", item_id="a", request_id="r", timestamp=START)])
        engine.ingest([Action(user_id="u", item_id="a", action="click", request_id="r", timestamp=START + 1)])
        assert labels.seen == [1.0]
        engine.tick(NOW)
        engine.sync()
        assert labels.seen == [1.0]


def test_a_positive_is_learned_from_when_its_window_is_over() -> None:
    labels = Labels()
    with Engine(None, SHORT, observer=labels, clock=ManualClock(NOW)) as engine:
        engine.ingest(clicks([1], ["a"]))
        engine.sync()
        before = engine.learner.queue.examples
        engine.ingest([Impression(user_id="u", item_id="a", request_id="r", timestamp=START)])
        engine.ingest([Action(user_id="u", item_id="a", action="click", request_id="r", timestamp=START + 1)])
        assert (engine.learner.queue.examples, labels.seen) == (before + 1, []), "its label is there at once"
        engine.tick(START + HOUR + MINUTE + 1)
        engine.tick(NOW)
        assert labels.seen == [1.0]


def test_a_tick_lets_deadlines_pass_and_never_turns_time_back() -> None:
    labels = Labels()
    with Engine(None, SHORT, observer=labels, clock=ManualClock(NOW)) as engine:
        engine.ingest([click(1, "a"), Impression(user_id="u", item_id="a", timestamp=START)])
        engine.sync()
        engine.tick(START - DAY)
        assert engine.stream_time == START
        engine.tick(START + HOUR + MINUTE + 1)
        assert engine.stream_time == START + HOUR + MINUTE + 1
        assert engine.status()["pending"] == 0
        engine.sync()
        assert labels.seen == [0.0]
        assert engine.status()["events"] == 2, "a tick is no event"


def test_finish_lets_every_deadline_pass() -> None:
    with opened() as engine:
        engine.ingest([Impression(user_id="u", item_id=item, timestamp=START) for item in range(70)])
        assert (engine.status()["pending"], engine.status()["examples"]) == (70, 0)
        engine.finish()
        assert (engine.status()["pending"], engine.status()["examples"]) == (0, 70)


def test_a_retraction_takes_the_label_back() -> None:
    labels = Labels()
    with Engine(None, LEARNS_AT_ONCE, observer=labels, clock=ManualClock(NOW)) as engine:
        engine.ingest([click(1, "a"), Impression(user_id="u", item_id="a", request_id="r", timestamp=START)])
        engine.sync()
        action = Action(
            user_id="u", item_id="a", action="buy", request_id="r", timestamp=START + 1, event_id="order", value=9.5
        )
        engine.ingest([action])
        taken_back = Retraction(retracts="order", timestamp=START + 2, event_id="return")
        assert engine.ingest([taken_back, taken_back]).accepted == 1
        assert labels.seen == [1.0, 0.0]
        engine.ingest([Retraction(retracts="unknown", timestamp=START + 3)])
        engine.ingest([click("v", "a", START + 4, "plain")])
        assert labels.seen == [1.0, 0.0, 1.0], "no other item could have been a negative"
        engine.ingest([Retraction(retracts="plain", timestamp=START + 5)])
        assert labels.seen == [1.0, 0.0, 1.0, 0.0]


# --- users leave


def test_forget_leaves_nothing_of_a_user_and_only_of_that_user(engine: Engine) -> None:
    engine.ingest(clicks(["w"], list("abcd")))
    engine.ingest([*clicks(["u", "v"], list("abcd")), Impression(user_id="u", item_id="e", timestamp=START)])
    engine.sync()
    assert engine.interests("u") != []
    assert seen_by(engine, "u", list("abcd")) == set("abcd")
    engine.forget("u")
    assert engine.interests("u") == []
    assert seen_by(engine, "u", list("abcd")) == set()
    assert (engine.status()["users"], engine.status()["pending"]) == (2, 0)
    assert seen_by(engine, "v", list("abcd")) == set("abcd")
    engine.ingest([click("u", "a", START + HOUR)])
    assert seen_by(engine, "u", list("abcd")) == {"a"}


@pytest.mark.parametrize("user", ["u", -(2**63), 2**53 + 1, "5", "🦊", 'a"b\\'])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_what_was_forgotten_stays_forgotten(tmp_path: Path, user: Id, checkpointed: bool) -> None:
    with opened(tmp_path) as engine:
        engine.ingest(clicks([7], list("abcd")))
        engine.ingest(clicks([user, 5], list("abcd")))
        engine.sync()
        assert engine.interests(user) != []
        if checkpointed:
            engine.checkpoint()
        engine.forget(user)
    with opened(tmp_path) as engine:
        assert engine.interests(user) == []
        assert seen_by(engine, user, list("abcd")) == set()
        assert seen_by(engine, 5, list("abcd")) == set("abcd")


# --- restarts


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_restart_answers_as_before(tmp_path: Path, checkpointed: bool) -> None:
    with opened(tmp_path, SHORT) as engine:
        engine.ingest(clicks(range(10), range(12)))
        if checkpointed:
            engine.checkpoint()
        engine.ingest([Impression(user_id=1, item_id=2, timestamp=START), *clicks(["u"], range(5), START + MINUTE)])
        engine.tick(START + HOUR)
        engine.sync()
        before = engine.score("u", range(12)).tobytes(), engine.recommend("u", 12).items, engine.interests("u")
        status = engine.status()
    with opened(tmp_path, SHORT) as engine:
        after = engine.score("u", range(12)).tobytes(), engine.recommend("u", 12).items, engine.interests("u")
        assert after == before
        names = {"events", "examples", "rows", "tables", "items", "users", "pending", "stream_time"}
        assert names <= engine.status().keys()
        assert {name: value for name, value in engine.status().items() if name in names} == {
            name: value for name, value in status.items() if name in names
        }
        assert engine.status()["epoch"] != status["epoch"]
        assert isinstance(engine.status()["epoch"], int)


def test_every_start_is_a_higher_epoch(tmp_path: Path) -> None:
    epochs: list[int] = []
    for number in range(4):
        with opened(tmp_path) as engine:
            engine.ingest([click("u", "a", START + number)])
            if number % 2:
                engine.checkpoint()
            engine.sync()
            epoch = engine.status()["epoch"]
            assert isinstance(epoch, int)
            epochs.append(epoch)
    assert epochs == sorted(set(epochs))


def test_in_memory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened() as engine:
        engine.ingest(clicks([1], ["a"]))
        engine.sync()
        engine.checkpoint()
    assert list(tmp_path.iterdir()) == []


def test_one_folder_has_one_engine(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.ingest([click("u", "a")])
        with pytest.raises(LogBusyError, match="in use by process"):
            opened(tmp_path)
        assert engine.ingest([click("u", "b")]).accepted == 1
    with opened(tmp_path) as engine:
        assert engine.status()["events"] == 2
        engine.close()
        with pytest.raises(LogError, match="is closed"):
            engine.ingest([click("u", "c")])


# --- items leave


def test_an_item_in_the_place_of_one_that_left_is_not_taken_for_seen() -> None:
    days = Settings(signals=SignalSettings(item_idle_days=1.0))
    with opened(settings=days) as engine:
        engine.ingest(clicks(["u"], list("abc"), NOW - 9 * DAY))
        for hour in range(4 * 24):
            engine.ingest(clicks(["v"], ["d"], NOW - 9 * DAY + (hour + 1) * HOUR))
        assert engine.status()["items"] == 1
        engine.ingest(clicks(["v"], list("efg"), NOW - 4 * DAY))
        engine.sync()
        assert engine.learner.state.signals.catalogue.size == 4, "the places of those that left are used again"
        assert sorted(map(str, ids(engine.recommend("u", 10)))) == list("defg")
