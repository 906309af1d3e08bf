"""What each policy of labels makes training take, what of it is kept, and what sinks of predictions get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.learner import Learner
from stream_reco.events import Action, Event, Impression, Retraction, UserEvent
from stream_reco.labels import LabelSettings, OracleJoiner, final_labels
from stream_reco.model.inputs import Inputs
from stream_reco.serve.slate.request import Request
from stream_reco.train.delayed_feedback import Feedback
from stream_reco.train.settings import TrainSettings
from tests.embedded.journal.recovery_world import NOW

HOUR = 3_600_000
DAY = 24 * HOUR
WAITING = TrainSettings(batch=100_000, wait_seconds=1e9)
"""Nothing is trained on, so that all that would be can be looked at."""
Row = tuple[int, float, float, Feedback, float]
"""Label, weight, weight undone, kind of feedback, rate."""


def rows(events: Sequence[Event], **labels: object) -> list[Row]:
    """What waits for training after these events and another two days."""
    settings = LabelSettings(window_days=1.0, lateness_seconds=0.0, **labels)  # type: ignore[arg-type]
    learner = Learner(Settings(labels=settings, training=WAITING))
    for event in events:
        # What falls due before an event does so first, as it would where more happens.
        learner.learn([UserEvent(user_id="z", timestamp=event.timestamp), event])
    learner.learn([UserEvent(user_id="z", timestamp=NOW + 3 * DAY)])
    return [(one.label, one.weight, one.undone, Feedback(one.feedback), one.rate) for one in learner.queue.waiting]


def shown(position: int, time: int = NOW, request: str = "r") -> Impression:
    return Impression(
        user_id="u",
        item_id=f"item{position}",
        request_id=request,
        position=position,
        timestamp=time,
        event_id=f"{request}:{position}",
    )


def click(position: int, time: int, request: str = "r") -> Action:
    return Action(
        user_id="u",
        item_id=f"item{position}",
        action="click",
        request_id=request,
        timestamp=time,
        event_id=f"{request}:{position}:click",
    )


SLATE: list[Event] = [shown(1), shown(2), shown(3)]
LATE_TWICE: list[Event] = [*SLATE, click(3, NOW + HOUR), click(1, NOW + 2 * HOUR)]


def test_conclusive_waits_for_the_window() -> None:
    positive, negative = (1, 1.0, 0.0, Feedback.CERTAIN, 1.0), (0, 1.0, 0.0, Feedback.CERTAIN, 1.0)
    assert rows(LATE_TWICE, policy="conclusive") == [positive, positive, negative]


def test_conclusive_learns_from_what_is_shown_when_its_window_is_over() -> None:
    labels = LabelSettings(policy="conclusive", window_days=1.0, lateness_seconds=0.0)
    learner = Learner(Settings(labels=labels, training=WAITING))
    learner.learn([*SLATE, click(3, NOW + HOUR)])
    learner.learn([UserEvent(user_id="z", timestamp=NOW + DAY)])
    assert learner.queue.waiting == []
    learner.learn([UserEvent(user_id="z", timestamp=NOW + DAY + 1)])
    assert [one.label for one in learner.queue.waiting] == [1, 0, 0]


def test_what_early_gives_early_is_learned_when_all_of_the_slate_is_known() -> None:
    unseen = [shown(1, NOW + 1, "unseen"), shown(2, NOW + 1, "unseen")]
    log: list[Event] = [*SLATE, *unseen, *LATE_TWICE[3:]]
    found = rows(log, policy="early")
    assert sorted(found) == sorted(rows(log, policy="conclusive"))
    assert [label for label, *_ in found].count(0) == 3
    assert rows(log, policy="early", order="none") == rows(log, policy="conclusive")
    learner = Learner(Settings(labels=LabelSettings(policy="early", lateness_seconds=0.0), training=WAITING))
    learner.learn([*log, UserEvent(user_id="z", timestamp=NOW + DAY)])
    assert learner.queue.examples == 3, "the labels themselves come at once"
    assert learner.queue.waiting == []


def test_auto_presumes_after_the_wait_and_corrects_itself() -> None:
    presumed, late = (0, 1.0, 0.0, Feedback.PRESUMED, 1.0), (1, 1.0, 1.0, Feedback.LATE, 1.0)
    assert rows(LATE_TWICE) == rows(LATE_TWICE, policy="auto") == [presumed] * 3 + [late] * 2
    soon: list[Event] = [*SLATE, click(3, NOW + 20_000)]
    assert rows(soon) == [(1, 1.0, 0.0, Feedback.IN_TIME, 1.0), presumed, presumed]


def test_by_default_a_slate_is_learned_from_within_the_minute() -> None:
    learner = Learner(Settings(training=WAITING))
    learner.learn(SLATE)
    learner.tick(NOW + 30_000)
    assert learner.queue.examples == 0
    learner.tick(NOW + 31_000)
    assert learner.queue.examples == 3


def test_a_negative_action_is_learned_from_at_once() -> None:
    learner = Learner(Settings(training=WAITING))
    dislike = structs.replace(click(2, NOW + 5), action="dislike")
    lone = structs.replace(dislike, item_id="elsewhere", request_id=None, event_id="lone")
    learner.learn([*SLATE, dislike, lone])
    found = [(one.label, one.weight, one.rate, one.feedback) for one in learner.queue.waiting]
    assert found == [(0, 1.0, 1.0, Feedback.CERTAIN)] * 2
    assert all(len(Inputs.from_bytes(one.inputs).item_keys) == 1 for one in learner.queue.waiting)
    learner.learn([Retraction(retracts="lone", timestamp=NOW + 9, user_id="u")])
    back = learner.queue.waiting[-1]
    assert (back.label, back.weight, back.undone) == (1, 0.0, 1.0)
    learner.queue.flush()
    assert learner.queue.steps == 1


def test_immediate_presumes_at_once_or_after_the_wait() -> None:
    presumed, late = (0, 1.0, 0.0, Feedback.PRESUMED, 1.0), (1, 1.0, 1.0, Feedback.LATE, 1.0)
    in_time = (1, 1.0, 0.0, Feedback.IN_TIME, 1.0)
    assert rows(LATE_TWICE, policy="immediate") == [presumed] * 3 + [late] * 2
    waited = rows(LATE_TWICE, policy="immediate", wait_seconds=5400)
    assert waited == [in_time, presumed, presumed, late]


def test_a_retraction_undoes_the_positive_with_its_weight() -> None:
    back = Retraction(retracts="r:1:click", timestamp=NOW + 2 * HOUR, user_id="u")
    found = rows([shown(1), click(1, NOW + HOUR), back], policy="immediate", action_weights={"click": 2.0})
    kinds = [(label, weight, undone, kind) for label, weight, undone, kind, _ in found]
    assert kinds == [
        (0, 1.0, 0.0, Feedback.PRESUMED),
        (1, 2.0, 1.0, Feedback.LATE),
        (0, 1.0, 2.0, Feedback.CERTAIN),
    ]


def test_what_had_no_impression_is_left_as_it_was() -> None:
    action = Action(user_id="u", item_id="a", action="click", timestamp=NOW, event_id="x")
    back = Retraction(retracts="x", timestamp=NOW + 1, user_id="u")
    certain = [(1, 1.0, 0.0, Feedback.CERTAIN, 1.0), (0, 1.0, 0.0, Feedback.CERTAIN, 1.0)]
    assert rows([action, back], policy="immediate", negative_rate=0.5) == certain


def test_a_negative_that_was_dropped_is_not_undone() -> None:
    requests = [f"r{number}" for number in range(600)]
    log: list[Event] = [shown(1, NOW, request) for request in requests]
    log += [click(1, NOW + HOUR, request) for request in requests]
    log += [Retraction(retracts=f"{request}:1:click", timestamp=NOW + 2 * HOUR, user_id="u") for request in requests]
    found = rows(log, policy="immediate", negative_rate=0.25)
    assert {rate for *_, rate in found} == {0.25}
    presumed = sum(kind is Feedback.PRESUMED for *_, kind, _ in found)
    assert 110 < presumed < 190
    late = [undone for _, _, undone, kind, _ in found if kind is Feedback.LATE]
    assert len(late) == 600, "positives are all kept"
    assert sum(late) == presumed
    retracted = [(weight, undone) for label, weight, undone, kind, _ in found if kind is Feedback.CERTAIN]
    assert len(retracted) == 600
    assert {undone for _, undone in retracted} == {1.0}
    assert sum(weight for weight, _ in retracted) == presumed
    assert rows(log, policy="immediate", negative_rate=0.25) == found, "it is decided the same way each time"


def test_a_restart_keeps_the_policy_that_a_folder_was_begun_with(tmp_path: Path) -> None:
    begun = Settings(labels=LabelSettings(policy="immediate", wait_seconds=60.0), training=WAITING)
    clock = ManualClock(NOW + DAY)
    with Engine(tmp_path, begun, clock=clock) as engine:
        engine.ingest([shown(1)])
        engine.checkpoint()
    with Engine(tmp_path, Settings(training=WAITING), clock=clock) as engine:
        assert engine.learner.joiner.presume_ms == 60_000
        engine.ingest([UserEvent(user_id="z", timestamp=NOW + HOUR), click(1, NOW + 2 * HOUR)])
        waiting = engine.learner.queue.waiting
        assert [Feedback(one.feedback) for one in waiting] == [Feedback.PRESUMED, Feedback.LATE]


def test_of_a_deleted_user_nothing_waits_for_training() -> None:
    learner = Learner(Settings(labels=LabelSettings(policy="immediate"), training=WAITING))
    learner.learn([shown(1), click(1, NOW + 1), structs.replace(click(2, NOW + 2), user_id="v", event_id="v")])
    assert len(learner.queue.waiting) == 1
    learner.forget("u")
    assert learner.queue.waiting == []


# --- those who measure


class Seen:
    """Keeps what a viewer gets."""

    def __init__(self) -> None:
        self.seen: list[tuple[Impression, float]] = []

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        self.seen += zip(impressions, predictions.tolist(), strict=True)


def test_a_viewer_gets_what_the_served_version_predicts_before_it_learns() -> None:
    seen = Seen()
    settings = Settings(training=TrainSettings(batch=4))
    log: list[Event] = [click(number % 9, NOW + number, f"c{number}") for number in range(60)]
    with Engine(None, settings, viewer=seen) as engine:
        engine.ingest([shown(1, NOW - 1, "before")])
        engine.ingest(log)
        assert seen.seen == [], "no version was served yet"
        engine.sync()
        asked = engine.score("u", ["item5"], now=NOW + 100)
        other: list[Event] = [click(5, NOW + 100, f"d{number}") for number in range(40)]
        repeated = shown(5, NOW + 100, "s")
        engine.ingest([repeated, *other, repeated])
    assert [impression.event_id for impression, _ in seen.seen] == ["s:5"]
    assert seen.seen[0][1] == pytest.approx(float(asked[0]), abs=1e-5)


def test_more_than_a_batch_comes_in_order() -> None:
    seen = Seen()
    with Engine(None, Settings(training=TrainSettings(batch=512)), viewer=seen) as engine:
        engine.ingest([click(1, NOW)])
        engine.sync()
        engine.ingest([shown(number, NOW + 1, "many") for number in range(600)])
    assert [impression.position for impression, _ in seen.seen] == list(range(600))


def test_with_an_oracle_training_knows_at_once() -> None:
    settings = Settings(labels=LabelSettings(window_days=1.0), training=WAITING)
    joiner = OracleJoiner(final_labels(LATE_TWICE, settings.labels), settings.labels)
    with Engine(None, settings, joiner=joiner) as engine:
        engine.ingest(SLATE)
        assert [one.label for one in engine.learner.queue.waiting] == [1, 0, 1]
        engine.ingest(LATE_TWICE[3:])
        engine.finish()
        assert engine.learner.queue.examples == 3
        assert engine.recommend_many([Request("u")])[0].items == []


def test_an_oracle_and_a_data_folder_do_not_go_together(tmp_path: object) -> None:
    joiner = OracleJoiner({}, replace(LabelSettings()))
    with pytest.raises(ValueError, match="without `data_dir`"):
        Engine(str(tmp_path), joiner=joiner)
