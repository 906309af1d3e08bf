"""Each rule of the labels by an example that a person can check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent
from stream_reco.labels import Example, LabelJoiner, Undone
from stream_reco.labels.memory.on_disk import OnDisk
from stream_reco.storage.rocksdb import RocksStore

W = 1000
DAY = 86_400_000


@pytest.fixture(params=["in memory", "on disk"], autouse=True)
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """All rules hold wherever the joiner remembers; on disk it commits after every call."""
    with ExitStack() as stores:
        if request.param == "on disk":

            def on_disk(*arguments: Any, **named: Any) -> LabelJoiner:
                store = stores.enter_context(closing(RocksStore(tmp_path / f"store {next(numbers)}")))
                return Committing(*arguments, **{**named, "store": store})

            numbers = count()
            monkeypatch.setattr(sys.modules[__name__], "LabelJoiner", on_disk)
        yield request.param


class Committing(LabelJoiner):
    """Commits whenever something may have changed."""

    def process(self, *arguments: Any) -> list[Example]:
        examples = super().process(*arguments)
        self.commit(b"")
        return examples

    def advance(self, *arguments: Any) -> list[Example]:
        examples = super().advance(*arguments)
        self.commit(b"")
        return examples


def shown(
    item: Id = "i",
    at: int = 0,
    request: Id | None = "r",
    position: int | None = None,
    group: Id | None = None,
    user: Id = "u",
    event_id: Id | None = None,
) -> Impression:
    return Impression(
        user_id=user,
        item_id=item,
        timestamp=at,
        request_id=request,
        position=position,
        group_id=group,
        event_id=event_id,
        context={"device": "phone"},
    )


def click(
    item: Id = "i",
    at: int = 10,
    request: Id | None = "r",
    event_id: Id | None = None,
    kind: str = "click",
    value: float | None = None,
    user: Id = "u",
) -> Action:
    return Action(
        user_id=user, item_id=item, timestamp=at, request_id=request, event_id=event_id, action=kind, value=value
    )


def take_back(event_id: Id, at: int, user: Id | None = None) -> Retraction:
    return Retraction(retracts=event_id, timestamp=at, user_id=user)


def said(examples: list[Example]) -> list[tuple[str, int, float]]:
    return [(example.reason, example.label, example.weight) for example in examples]


def test_a_positive_comes_at_once_with_all_its_fields() -> None:
    joiner = LabelJoiner(W)
    assert joiner.process([shown(position=3)], [b"moment"]) == []
    assert joiner.pending == 1
    assert joiner.process([click(value=2.5)], [b"ignored"]) == [
        Example(
            user_id="u",
            item_id="i",
            request_id="r",
            label=1,
            weight=1.0,
            reason="action",
            event_time=0,
            label_time=10,
            context={"device": "phone"},
            features=b"moment",
            position=3,
            action="click",
            value=2.5,
        )
    ]
    assert joiner.pending == 0
    assert joiner.advance(10 * W) == []


def test_a_negative_comes_once_when_the_watermark_passes_the_deadline() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(at=5)], [b"moment"])
    assert joiner.process([shown(at=10**9, item="later")]) == []  # events alone never move time
    assert joiner.advance(W + 5) == []
    (negative,) = joiner.advance(W + 6)
    assert (negative.reason, negative.label, negative.label_time) == ("window", 0, W + 5)
    assert (negative.features, negative.undoes) == (b"moment", None)
    assert joiner.advance(W + 7) == []


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (W, [("action", 1, 1.0)]),
        (W + 1, [("window", 0, 1.0), ("reversal", 1, 1.0)]),
        (2 * W, [("window", 0, 1.0), ("reversal", 1, 1.0)]),
        (2 * W + 1, [("window", 0, 1.0), ("unprompted", 1, 1.0)]),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_edges_of_both_windows(at: int, expected: list[tuple[str, int, float]], early: bool) -> None:
    """Whether time has passed the deadline when the action comes makes no difference."""
    joiner = LabelJoiner(W)
    joiner.process([shown()])
    examples = [] if early else joiner.advance(at)
    examples += joiner.process([click(at=at)])
    assert said(examples + joiner.advance(10 * W)) == expected


def test_a_reversal_says_what_it_undoes() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown()])
    joiner.advance(W + 1)
    (reversal,) = joiner.process([click(at=W + 1)])
    assert (reversal.label, reversal.reason, reversal.label_time) == (1, "reversal", W + 1)
    assert reversal.undoes == Undone("window", 0, 1.0, W)


def test_a_retraction_reverses_and_can_be_reversed() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(), click(event_id="a")])
    (back,) = joiner.process([take_back("a", 20)])
    assert (back.label, back.reason, back.action, back.label_time) == (0, "retraction", "click", 20)
    assert back.undoes == Undone("action", 1, 1.0, 10)
    assert joiner.process([take_back("a", 21)]) == []
    (again,) = joiner.process([click(at=30)])
    assert (again.label, again.reason, again.undoes) == (1, "reversal", Undone("retraction", 0, 1.0, 20))
    assert joiner.advance(10 * W) == []


def test_a_retraction_before_its_action_waits_for_it() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(), take_back("a", 20)])
    assert said(joiner.process([click(event_id="a")])) == [("action", 1, 1.0), ("retraction", 0, 1.0)]
    assert joiner.orphans == 0


def test_a_retraction_without_an_action_is_dropped_when_its_time_has_passed() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(), take_back("a", 20)])
    joiner.advance(20)
    assert joiner.orphans == 0
    joiner.advance(21)
    assert joiner.orphans == 1
    assert said(joiner.process([click(event_id="a")])) == [("action", 1, 1.0)]


def test_nobody_retracts_what_another_did() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(), click(event_id="a"), take_back("b", 20, user="x")])
    assert joiner.process([take_back("a", 20, user="x")]) == []
    assert said(joiner.process([click(item="j", request=None, event_id="b")])) == [("unprompted", 1, 1.0)]
    assert said(joiner.process([take_back("a", 20, user="u")])) == [("retraction", 0, 1.0)]


def test_a_retraction_leaves_the_next_strongest_action() -> None:
    joiner = LabelJoiner(W, action_weights={"buy": 3.0})
    joiner.process([shown(), click(event_id="a"), click(at=11, event_id="b", kind="buy")])
    back, again = joiner.process([take_back("b", 20)])
    assert back.undoes == Undone("action", 1, 3.0, 11)
    assert (again.label, again.weight, again.action) == (1, 1.0, "click")
    assert again.undoes == Undone("retraction", 0, 1.0, 20)
    assert said(joiner.process([take_back("a", 21)])) == [("retraction", 0, 1.0)]


def test_a_retraction_of_the_weaker_action_changes_nothing() -> None:
    joiner = LabelJoiner(W, action_weights={"buy": 3.0})
    joiner.process([shown(), click(event_id="a"), click(at=11, kind="buy")])
    assert joiner.process([take_back("a", 20)]) == []


def test_a_stronger_action_gives_the_difference_and_a_weaker_nothing() -> None:
    joiner = LabelJoiner(W, action_weights={"like": 2.0, "buy": 5.0, "hover": 0.0})
    joiner.process([shown()])
    assert joiner.process([click(kind="hover")]) == []
    assert said(joiner.process([click(kind="like")])) == [("action", 1, 2.0)]
    assert said(joiner.process([click(kind="buy", at=20)])) == [("action", 1, 3.0)]
    assert joiner.process([click(kind="like", at=30), click(kind="click", at=31)]) == []


def test_after_the_deadline_nothing_makes_a_positive_stronger() -> None:
    joiner = LabelJoiner(W, action_weights={"buy": 5.0})
    joiner.process([shown(), click()])
    assert joiner.process([click(kind="buy", at=W + 1)]) == []
    assert joiner.advance(10 * W) == []


def test_kinds_that_are_positive_from_a_value() -> None:
    joiner = LabelJoiner(W, positive_from={"rating": 4.0})
    joiner.process([shown()])
    below = [click(kind="rating", value=3.5), click(kind="rating")]
    assert joiner.process(below) == []
    assert not joiner.expects_features(click(item="j", kind="rating", value=3.5))
    assert said(joiner.process([click(kind="rating", value=4.0)])) == [("action", 1, 1.0)]


def test_kinds_whose_weight_grows_with_their_value() -> None:
    joiner = LabelJoiner(W, action_weights={"watch": 2.0}, value_units={"watch": 60.0})
    values = [None, 60.0, 90.0, 1e9, 0.0, -5.0]
    assert [joiner.weight(click(kind="watch", value=value)) for value in values] == [2.0, 2.0, 3.0, 20.0, 0.0, 0.0]
    assert joiner.weight(click(value=90.0)) == 1.0
    joiner.process([shown()])
    watched = [click(kind="watch", value=value) for value in (30.0, 15.0, 120.0, -1.0)]
    assert said(joiner.process(watched)) == [("action", 1, 1.0), ("action", 1, 3.0)]


def test_an_action_waits_for_its_impression_until_its_own_time_has_passed() -> None:
    joiner = LabelJoiner(W)
    assert joiner.process([click(at=10)], [b"late"]) == []
    assert joiner.advance(10) == []
    (alone,) = joiner.advance(11)
    assert (alone.reason, alone.features, alone.request_id, alone.event_time) == ("unprompted", b"late", "r", 10)
    assert said(joiner.process([shown()]) + joiner.advance(W + 1)) == [("window", 0, 1.0)]


def test_an_impression_finds_the_actions_that_wait_for_it() -> None:
    joiner = LabelJoiner(W, action_weights={"buy": 3.0})
    joiner.process([click(at=20, kind="buy"), click(at=10), click(at=10, request="other"), click(at=10, item="other")])
    examples = joiner.process([shown()], [b"moment"])
    assert said(examples) == [("action", 1, 1.0), ("action", 1, 2.0)]
    assert [example.features for example in examples] == [b"moment"] * 2
    assert said(joiner.advance(100)) == [("unprompted", 1, 1.0)] * 2


def test_an_action_without_request_never_waits() -> None:
    joiner = LabelJoiner(W)
    (alone,) = joiner.process([click(request=None)], [b"moment"])
    assert (alone.reason, alone.label, alone.weight, alone.features) == ("unprompted", 1, 1.0, b"moment")


def test_an_action_without_request_takes_the_latest_open_impression_before_it() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(at=5, request="b"), shown(at=0, request="a"), shown(at=9, request="c")])
    (positive,) = joiner.process([click(at=8, request=None)])
    assert (positive.request_id, positive.event_time) == ("b", 5)
    assert said(joiner.process([click(at=8, request=None, user="other")])) == [("unprompted", 1, 1.0)]


def test_an_action_with_request_takes_no_other_impression() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(request="a"), shown(request="r", user="other")])
    assert joiner.process([click(request="r")]) == []
    assert said(joiner.advance(11)) == [("unprompted", 1, 1.0)]


def test_an_action_with_request_is_believed_over_the_clocks() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(at=12)])
    assert said(joiner.process([click(at=10)])) == [("action", 1, 1.0)]


def test_an_unprompted_action_can_be_retracted_for_a_window() -> None:
    joiner = LabelJoiner(W)
    joiner.process([click(request=None, at=0, event_id=n) for n in range(3)], [b"m"] * 3)
    (back,) = joiner.process([take_back(0, W)])
    assert (back.label, back.reason, back.undoes) == (0, "retraction", Undone("unprompted", 1, 1.0, 0))
    assert back.features == b"m"
    assert joiner.process([take_back(0, W), take_back(1, W + 1)]) == []
    joiner.advance(W + 1)
    assert joiner.process([take_back(2, W)]) == []


@pytest.mark.parametrize("order", ["slate", "group"])
def test_a_response_tells_on_the_impressions_before_it(order: Literal["slate", "group"]) -> None:
    joiner = LabelJoiner(W, order)
    joiner.process([shown(item=n, at=n, position=n, group="job") for n in range(4)], [bytes([n]) for n in range(4)])
    joiner.process([click(item=2, at=50), click(item=0, at=50)])
    assert joiner.advance(50) == []
    (negative,) = joiner.advance(51)
    assert (negative.item_id, negative.reason, negative.label, negative.label_time) == (1, "responded_later", 0, 50)
    assert (negative.features, joiner.pending) == (b"\1", 1)
    (reversal,) = joiner.process([click(item=1, at=60)])
    assert reversal.undoes == Undone("responded_later", 0, 1.0, 50)
    assert [example.item_id for example in joiner.advance(10 * W)] == [3]


def test_groups_do_not_tell_on_each_other() -> None:
    joiner = LabelJoiner(W, "group")
    joiner.process([shown(1, at=0, group="g"), shown(2, at=1, group=5), shown(3, at=2, group="5"), shown(4, at=3)])
    joiner.process([shown(5, at=9, group="5", user="other"), click(5, at=20, user="other")])
    assert [example.item_id for example in joiner.advance(21)] == [3]


def test_slates_belong_to_one_user() -> None:
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(1, position=1), shown(2, position=2, user="other"), click(2, user="other")])
    assert joiner.advance(W - 1) == []


def test_equal_ranks_and_missing_ones_tell_nothing() -> None:
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(1, position=2), shown(2, position=2), shown(3), shown(4, request=None, position=1), click(2)])
    assert joiner.advance(W - 1) == []


def test_an_impression_that_comes_after_the_response_is_passed_over_too() -> None:
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(3, position=3), shown(9, position=9), click(9, at=30), click(3, at=20)])
    joiner.advance(31)
    joiner.process([shown(1, position=1), shown(4, position=4), shown(10, position=10)])
    examples = joiner.advance(32)
    assert [(e.item_id, e.reason, e.label_time) for e in examples] == [
        (1, "responded_later", 20),
        (4, "responded_later", 30),
    ]


def test_the_earlier_of_response_and_deadline_decides() -> None:
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(1, position=1), shown(2, position=2, at=500), click(2, at=W + 1)])
    assert [e.reason for e in joiner.advance(10 * W)] == ["window"]
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(1, position=1), shown(2, position=2, at=500), click(2, at=W)])
    assert [e.reason for e in joiner.advance(10 * W)] == ["responded_later"]


def test_repeated_events_change_nothing_whatever_they_say() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(event_id="e"), click(event_id="a")])
    again: list[Event] = [
        shown(item="j", event_id="e"),
        click(event_id="e"),
        take_back("x", 5),
        click(event_id="a", kind="buy"),
    ]
    assert joiner.process(again) == []
    assert joiner.duplicates == 3
    assert joiner.seen("e")
    assert not joiner.seen("x")
    assert joiner.advance(10 * W) == []


def test_ids_are_known_from_their_arrival_on_those_of_waiting_actions_too() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(event_id="e"), click(request="not shown yet", event_id="w")])
    assert joiner.seen_among(["e", "x", "w"]) == {"e", "w"}
    assert joiner.seen_among([]) == set()


def test_an_impression_is_presumed_negative_until_an_action_says_otherwise() -> None:
    joiner = LabelJoiner(W, presume_ms=20)
    joiner.process([shown(), shown("j"), click("j", at=20)])
    assert joiner.advance(20) == []
    (presumed,) = joiner.advance(21)
    assert (presumed.item_id, presumed.label, presumed.reason, presumed.label_time) == ("i", 0, "immediate", 20)
    assert joiner.pending == 0
    (reversal,) = joiner.process([click("i", at=25, event_id="c")])
    assert (reversal.label, reversal.reason, reversal.undoes) == (1, "reversal", Undone("immediate", 0, 1.0, 20))
    assert said(joiner.process([take_back("c", 30)])) == [("retraction", 0, 1.0)]
    assert said(joiner.process([click("i", at=40)])) == [("reversal", 1, 1.0)]
    assert joiner.advance(10 * W) == []


def test_events_without_id_are_never_repetitions() -> None:
    joiner = LabelJoiner(W)
    joiner.process([shown(), shown()])
    assert said(joiner.advance(W + 1)) == [("window", 0, 1.0)] * 2


@pytest.mark.parametrize("window", [W, 14 * DAY])
def test_ids_are_remembered_for_a_day_and_while_the_example_can_change(window: int) -> None:
    joiner = LabelJoiner(window)
    events: list[Event] = [
        shown(event_id=1),
        click(at=1, event_id=2),
        click(at=1, request=None, item="j", event_id=3),
        ItemEvent(item_id="i", timestamp=1, event_id=4),
        UserEvent(user_id="u", timestamp=1, event_id=5),
        Retraction(retracts="x", timestamp=1, event_id=6),
        click(at=1, item="k", event_id=7),
    ]
    joiner.process(events)
    ends = {1: 2 * window, 2: 2 * window, 3: 1 + window, 4: 0, 5: 0, 6: 0, 7: 1 + window}
    for now in range(0, max(2 * window, DAY) + 3_700_000, 1_800_000):
        joiner.advance(now)
        for event_id, end in ends.items():
            until = max(end, DAY)
            if now <= until:
                assert joiner.seen(event_id)
            elif now > until + 3_600_000 + 1:
                assert not joiner.seen(event_id)


def test_late_events_are_counted_and_processed() -> None:
    joiner = LabelJoiner(W)
    joiner.advance(10 * W)
    joiner.process([shown(at=0), click(at=W + 5), shown(at=10 * W, item="on time")])
    assert joiner.late == 2
    assert said(joiner.advance(0)) == [("window", 0, 1.0), ("reversal", 1, 1.0)]  # time does not go back


def test_watermark_is_the_highest_time_less_the_lateness() -> None:
    joiner = LabelJoiner(W, lateness_ms=7)
    assert joiner.watermark is None
    joiner.process([shown(at=100), shown(at=50)])
    assert joiner.watermark == 93


def test_features_are_expected_where_they_would_travel() -> None:
    joiner = LabelJoiner(W, action_weights={"hover": 0.0})
    assert joiner.expects_features(shown(event_id="e"))
    joiner.process([shown(event_id="e")])
    assert not joiner.expects_features(shown(event_id="e"))
    assert not joiner.expects_features(click())
    assert not joiner.expects_features(click(request=None))
    assert joiner.expects_features(click(request="other"))
    assert joiner.expects_features(click(request=None, at=-1))
    assert joiner.expects_features(click(at=2 * W + 1))
    assert not joiner.expects_features(click(request="other", kind="hover"))
    assert not joiner.expects_features(take_back("a", 5))
    assert not joiner.expects_features(ItemEvent(item_id="i", timestamp=1))


def test_a_forgotten_user_leaves_nothing_pending() -> None:
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(1, position=1, event_id="e"), shown(2, position=2), click(2, event_id="a")])
    joiner.process([click(3, event_id="w"), click(4, request=None, event_id="x"), take_back("z", 90, user="u")])
    joiner.process([shown(1, user="v")])
    joiner.forget_user("u")
    joiner.forget_user("nobody")
    assert joiner.pending == 1
    assert joiner.process([take_back("a", 20), take_back("x", 20), take_back("w", 20)]) == []
    assert [example.user_id for example in joiner.advance(10 * W)] == ["v"]
    assert joiner.seen("e")
    assert joiner.seen("w")


def test_ids_of_both_kinds_and_all_sizes_survive() -> None:
    ids: list[Id] = [2**63 - 1, -(2**63), 2**53 + 1, "5", 5, "😀"]
    joiner = LabelJoiner(W, "slate")
    joiner.process([shown(n, request=n, user=n, event_id=n, position=1) for n in ids])
    for n in ids:
        (example,) = joiner.process([click(n, request=n, user=n)])
        assert (example.user_id, example.item_id, example.request_id) == (n, n, n)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"window_ms": 0}, "window is 0 ms"),
        ({"window_ms": -5}, "window is -5 ms"),
        ({"lateness_ms": -1}, "lateness is -1 ms"),
        ({"presume_ms": -1}, "after -1 ms"),
        ({"window_ms": 5, "presume_ms": 6}, "after 6 ms"),
        ({"order": "time"}, "'time'"),
        ({"action_weights": {"click": -1.0}}, "'click' is -1"),
        ({"action_weights": {"click": float("nan")}}, "'click' is nan"),
        ({"positive_from": {"rating": float("inf")}}, "'rating'"),
        ({"value_units": {"watch": 0.0}}, "'watch' counts once for a value of 0.0"),
        ({"value_units": {"watch": float("nan")}}, "'watch'"),
    ],
)
def test_settings_without_sense_are_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LabelJoiner(**arguments)  # type: ignore[arg-type]


def test_features_must_fit_the_events() -> None:
    with pytest.raises(ValueError, match="1 features for 2 events"):
        LabelJoiner().process([shown(), click()], [None])


def held(joiner: LabelJoiner) -> int:
    """Bytes of objects, or records in the store, whose files shrink only now and then."""
    if isinstance(joiner._memory, OnDisk):
        return sum(1 for _ in joiner._memory.store.scan(b"", b"z"))
    return joiner.nbytes


def test_memory_is_level_over_many_windows() -> None:
    joiner = LabelJoiner(W, "group", lateness_ms=10)
    sizes = []
    for step in range(40):
        for at in range(step * W, step * W + W, 10):
            joiner.process([shown(at, at=at, request=at, group="one", position=1), click(at, at=at + 5, request=at)])
        joiner.advance(step * W + W - 10)
        sizes.append(held(joiner))
    assert max(sizes[10:]) < 1.2 * sizes[5]
