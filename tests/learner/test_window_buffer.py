"""What is held to the end of its window against the labels that held there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example, LabelJoiner
from stream_reco.learner.window_buffer import WindowBuffer
from tests.labels.test_joiner_properties import END, WEIGHTS, WINDOW, logs, shifts, shuffled, ticks


def taught(
    log: list[Event], some_ticks: list[bool], window_buffer: WindowBuffer | None
) -> dict[tuple[Id, Id, Id | None, int], list[Example]]:
    """By impression, what a learner is given."""
    joiner = LabelJoiner(WINDOW, None, 20, WEIGHTS)
    given_: dict[tuple[Id, Id, Id | None, int], list[Example]] = {}

    def give(examples: list[Example]) -> None:
        for one in examples:
            given_.setdefault((one.user_id, one.item_id, one.request_id, one.event_time), []).append(one)

    def label(examples: list[Example]) -> None:
        give([one for one in examples if window_buffer is None or not window_buffer.holds(one)])

    highest = 0
    for at, event in enumerate(log):
        if some_ticks[at]:
            give([] if window_buffer is None else window_buffer.due(highest - 20))
            label(joiner.advance(highest - 20))
        label(joiner.process([event]))
        highest = max(highest, event.timestamp)
    give([] if window_buffer is None else window_buffer.due(END))
    label(joiner.advance(END))
    return given_


@settings(max_examples=200, deadline=None)
@given(log=logs(loose=False), moved=shifts, some_ticks=ticks)
def test_the_label_at_the_end_of_the_window_is_learned_once(
    log: list[Event], moved: list[int], some_ticks: list[bool]
) -> None:
    log = shuffled(log, moved)
    window_buffer = WindowBuffer(WINDOW)
    at_once, patiently = taught(log, some_ticks, None), taught(log, some_ticks, window_buffer)
    assert len(window_buffer) == 0
    assert at_once.keys() >= patiently.keys()
    for key, examples in at_once.items():
        if any("unprompted" in (one.reason, one.undoes.reason if one.undoes else "") for one in examples):
            continue
        learned = patiently[key]
        before = examples[: len(examples) - len(learned) + 1]
        assert learned[1:] == examples[len(before) :]
        weight = 0.0
        for one in before:
            weight = one.weight if one.undoes is not None else weight + one.weight
        assert (learned[0].label, learned[0].weight, learned[0].undoes) == (before[-1].label, weight, None)
        if len(before) > 1:
            assert before[0].reason in ("action", "negative_action")


@settings(max_examples=50, deadline=None)
@given(log=logs(loose=False), cut=st.integers(0, 20))
def test_a_restart_goes_on_with_what_was_held(log: list[Event], cut: int) -> None:
    joiner = LabelJoiner(WINDOW, None, 0, WEIGHTS)
    steady, restarted = WindowBuffer(WINDOW), WindowBuffer(WINDOW)
    for at, event in enumerate(log):
        if at == cut:
            state = restarted.state()
            restarted = WindowBuffer(WINDOW)
            restarted.recall(*state)
        assert steady.due(event.timestamp) == restarted.due(event.timestamp)
        for example in joiner.advance(event.timestamp) + joiner.process([event]):
            assert steady.holds(example) == restarted.holds(example)
    assert steady.state() == restarted.state()
    assert steady.due(END) == restarted.due(END)


def test_a_forgotten_user_teaches_nothing_more() -> None:
    window_buffer = WindowBuffer(WINDOW)
    for user in ("u", "v"):
        example = Example(user_id=user, item_id="i", label=1, weight=1.0, reason="action", event_time=0, label_time=1)
        assert window_buffer.holds(example)
    window_buffer.forget_user("u")
    assert [one.user_id for one in window_buffer.due(END)] == ["v"]


def test_what_had_no_impression_is_not_taken_for_one_of_the_same_moment() -> None:
    joiner, window_buffer = LabelJoiner(WINDOW), WindowBuffer(WINDOW)
    log: list[Event] = [
        Action(user_id=1, item_id=1, action="click", timestamp=5, event_id="u"),
        Impression(user_id=1, item_id=1, timestamp=5),
        Action(user_id=1, item_id=1, action="click", timestamp=7, event_id="k"),
        Retraction(retracts="u", timestamp=9),
    ]
    at_once = [one.reason for one in joiner.process(log) if not window_buffer.holds(one)]
    assert at_once == ["unprompted", "retraction"]
    assert [one.label for one in window_buffer.due(END)] == [1]
