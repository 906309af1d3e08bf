"""Actions that speak against an item, by example."""

from __future__ import annotations

import msgspec

from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.labels import Example, KindSettings, LabelJoiner
from stream_reco.labels.label.pending import PendingAction, PendingImpression
from stream_reco.labels.label.rules import retract

WINDOW, END = 100, 1_000
SHOWN = Impression(user_id="u", item_id="a", timestamp=0, request_id="r", position=0)
Told = tuple[int, str, float, int, str | None]
"""Label, reason, weight, time of the label, reason of the label that is undone."""


def act(kind: str, time: int, event_id: str | None = None, request_id: str | None = "r") -> Action:
    return Action(user_id="u", item_id="a", action=kind, timestamp=time, request_id=request_id, event_id=event_id)


def back(event_id: str, time: int) -> Retraction:
    return Retraction(retracts=event_id, timestamp=time, user_id="u")


def told(*events: Event, **settings: object) -> list[Told]:
    joiner = LabelJoiner(WINDOW, None, 0, **settings)  # type: ignore[arg-type]
    examples: list[Example] = []
    for event in events:
        examples += joiner.process([event])
    return list(map(_told, examples + joiner.advance(END)))


def _told(one: Example) -> Told:
    return one.label, one.reason, one.weight, one.label_time, one.undoes.reason if one.undoes else None


def test_it_makes_a_0_at_once() -> None:
    joiner = LabelJoiner(WINDOW)
    joiner.process([SHOWN])
    (example,) = joiner.process([act("dislike", 5)])
    assert (example.label, example.reason, example.action, example.request_id) == (0, "negative_action", "dislike", "r")
    assert (example.event_time, example.label_time) == (0, 5)
    assert joiner.pending == 0
    assert joiner.advance(END) == []


def test_the_last_word_in_time_decides_whatever_comes_first() -> None:
    liked, disliked, again = act("like", 10), act("dislike", 20), act("like", 30)
    assert told(SHOWN, liked, disliked) == [
        (1, "action", 1.0, 10, None),
        (0, "negative_action", 1.0, 20, "action"),
    ]
    assert told(SHOWN, disliked, liked) == [(0, "negative_action", 1.0, 20, None)]
    assert told(SHOWN, liked, disliked, again)[-1] == (1, "reversal", 1.0, 30, "negative_action")
    assert told(SHOWN, again, disliked, liked) == [(1, "action", 1.0, 30, None)]
    assert told(SHOWN, act("dislike", 10), liked) == [(0, "negative_action", 1.0, 10, None)]


def test_a_return_takes_the_purchase_away_also_after_the_window() -> None:
    bought = (1, "action", 5.0, 10, None)
    for time in (20, 150):
        found = told(SHOWN, act("buy", 10), act("return", time), action_weights={"buy": 5.0})
        assert found == [bought, (0, "negative_action", 1.0, time, "action")]
    beyond = told(SHOWN, act("buy", 10), act("return", 201), action_weights={"buy": 5.0})
    assert beyond == [bought, (0, "unprompted", 1.0, 201, None)]


def test_what_was_said_before_the_return_counts_no_more() -> None:
    found = told(SHOWN, act("buy", 10), act("return", 20), act("click", 30), action_weights={"buy": 5.0})
    assert found[-1] == (1, "reversal", 1.0, 30, "negative_action")


def test_its_retraction_takes_it_back() -> None:
    assert told(SHOWN, act("like", 10), act("dislike", 20, "d"), back("d", 30))[-1] == (
        *(1, "reversal", 1.0, 30),
        "negative_action",
    )
    # Nobody has acted then: it is a negative for want of an action.
    assert told(SHOWN, act("dislike", 20, "d"), back("d", 30)) == [(0, "negative_action", 1.0, 20, None)]
    strong = told(SHOWN, act("report", 20, "d"), back("d", 30), action_weights={"report": 3.0})
    assert [(label, weight) for label, _, weight, _, _ in strong] == [(0, 3.0), (1, 1.0), (0, 1.0)]


def test_a_negative_that_stands_is_not_said_twice() -> None:
    presumed = LabelJoiner(WINDOW, presume_ms=10)
    presumed.process([SHOWN])
    assert [one.reason for one in presumed.advance(15)] == ["immediate"]
    assert presumed.process([act("dislike", 20)]) == []
    assert [one.reason for one in presumed.process([act("like", 30)])] == ["reversal"]


def test_without_an_impression_it_is_a_0_of_its_own() -> None:
    assert told(act("dislike", 5, "d", None)) == [(0, "unprompted", 1.0, 5, None)]
    # The 0 is unlearned, and nothing is learned in its place.
    assert told(act("dislike", 5, "d", None), back("d", 7))[-1] == (1, "reversal", 0.0, 7, "unprompted")


def test_a_kind_with_a_window_is_about_impressions_within_it() -> None:
    kinds = {"view": KindSettings(window_days=20 / 86_400_000)}
    assert told(SHOWN, act("view", 20), kinds=kinds) == [(1, "action", 1.0, 20, None)]
    for events in ((SHOWN, act("view", 21)), (act("view", 21), SHOWN)):
        assert sorted(told(*events, kinds=kinds)) == [(0, "window", 1.0, 100, None), (1, "unprompted", 1.0, 21, None)]
    assert told(SHOWN, act("click", 21), kinds=kinds) == [(1, "action", 1.0, 21, None)]


def test_an_ignored_kind_changes_nothing() -> None:
    kinds = {"hover": KindSettings("ignored")}
    assert told(SHOWN, act("hover", 5), act("hover", 6, None, None), kinds=kinds) == [(0, "window", 1.0, 100, None)]


def test_an_impression_of_an_earlier_release_goes_on() -> None:
    """It kept the strongest action that nobody can retract apart, and had no field for a window of an action's own."""
    kept = msgspec.msgpack.encode(
        PendingImpression(1, 0, "u", "a", "r", 0, None, None, None, label=1, weight=3.0, reason="action", label_time=4)
    )
    strongest = msgspec.msgpack.decode(
        msgspec.msgpack.encode(PendingAction(2, 4, 3.0, "u", "a", "r", None, "buy", None, None, None, None, True))
    )
    fields = msgspec.msgpack.decode(kept)
    fields[16] = strongest[:-1]
    fields[18] = [[3, 6, 5.0, "u", "a", "r", "e", "buy", None, None, None, None, True, False]]
    fields[10] = 5.0
    shown = msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=PendingImpression)
    out: list[Example] = []
    retract(shown, "e", 9, WINDOW, out)
    assert [_told(one) for one in out] == [(0, "retraction", 1.0, 9, "action"), (1, "reversal", 3.0, 9, "retraction")]
