"""A learner that is given events and examples apart: what it reads, what it becomes, what it forgets."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.events import Action, Event, Id, Impression, Retraction
from stream_reco.labels import Example, LabelSettings
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.learner.retractable_actions import RetractableActions
from stream_reco.measure.binary import BinaryMetrics
from stream_reco.model.features.names import FEATURES
from stream_reco.model.inputs import Inputs, collate
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.storage.checkpoint import read_checkpoint, write_checkpoint
from stream_reco.train.predictions import predictions
from stream_reco.train.settings import TrainSettings
from tests.embedded.journal.recovery_world import SETTINGS as SMALL
from tests.embedded.journal.recovery_world import compared, differences, steps
from tests.learner.shop_of_kinds import ITEMS, ShopOfKinds, users
from tests.learner.two_streams import Labelling, clicked, feed, learner_of, shown_and_clicked, woven

NOW = 1_700_000_000_000
WAITING = TrainSettings(batch=100_000, wait_seconds=1e9)
"""Nothing is trained on, so that all that would be can be looked at."""
PATIENT = Settings(labels=LabelSettings(policy="conclusive", window_days=1.0), training=WAITING)


def click(user: Id, item: Id, time: int, request: Id | None = None) -> Action:
    return Action(
        user_id=user, item_id=item, action="click", timestamp=time, request_id=request, event_id=f"{user}:{item}:{time}"
    )


def unprompted(action: Action) -> Example:
    return Example(
        user_id=action.user_id,
        item_id=action.item_id,
        label=1,
        weight=1.0,
        reason="unprompted",
        event_time=action.timestamp,
        label_time=action.timestamp,
        action=action.action,
    )


def whole(learner: DistributedLearner) -> dict[str, object]:
    """Everything, in a form that can be compared."""
    parts = compared(learner.parts())
    parts["seen.keys"] = np.sort(np.asarray(parts["seen.keys"]))
    return parts


def read(learner: DistributedLearner, place: int = -1) -> Inputs:
    return Inputs.from_bytes(learner.queue.waiting[place].inputs)


def column(inputs: Inputs, name: str) -> float:
    """Of the example's own item."""
    return float(inputs.dense[0, FEATURES.index(name)])


# --- no example knows of its own action


BEFORE: list[Event] = [
    *(click("other", item, NOW - 900_000 + at * 1000) for at, item in enumerate(["a", "b", "c", "d"])),
    click("u", "a", NOW - 60_000),
    click("u", "b", NOW - 30_000),
]
OWN = click("u", "new", NOW)
AFTER: list[Event] = [click("u", "c", NOW + 20_000), click("u", "d", NOW + 30_000)]
ORDERS = {
    "example first": [*BEFORE, unprompted(OWN), OWN, *AFTER],
    "action first": [*BEFORE, OWN, unprompted(OWN), *AFTER],
    "example last": [*BEFORE, OWN, *AFTER, unprompted(OWN)],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_click_is_not_among_the_features_of_its_own_example(order: str) -> None:
    learner = learner_of(PATIENT)
    feed(learner, ORDERS[order])
    (found,) = [read(learner)]
    keys = learner.state.signals.catalogue.keys
    slot_of = learner.state.signals.catalogue.slot_of
    history = found.history_keys[found.history_keys != 0].tolist()
    assert history == [keys[slot_of("b")], keys[slot_of("a")]], "newest first, and nothing from its own time on"
    assert found.history_ages[0] == pytest.approx(np.log1p(30_000 / 3_600_000))
    for name in ("ever", "decayed_5m", "clicks_5m", "after_1_2h", "next_1_20m", "since_first"):
        assert column(found, name) == 0.0, name
    assert column(found, "since_last") > 20.0, "never"
    assert column(found, "actions") == pytest.approx(np.log1p(2))
    assert column(found, "since_action") == pytest.approx(np.log1p(30.0))
    assert found.item_keys[0] == keys[slot_of("new")]
    assert set(found.item_keys[1:].tolist()) <= {keys[slot_of("c")], keys[slot_of("d")]}, "what was seen is no negative"


def test_the_orders_agree() -> None:
    found = []
    for order in ORDERS.values():
        learner = learner_of(PATIENT)
        feed(learner, order)
        found.append(read(learner))
    for other in found[1:]:
        assert other.dense[0].tobytes() == found[0].dense[0].tobytes()
        assert other.history_ages.tobytes() == found[0].history_ages.tobytes()


def late_features() -> float:
    return metrics.REGISTRY.get_sample_value("stream_reco_events_features_late_total") or 0.0


def test_where_the_moment_is_gone_history_ends_before_the_action_all_the_same() -> None:
    late = late_features()
    learner = learner_of(PATIENT)
    feed(learner, [*BEFORE, OWN, *AFTER])
    learner._snapshots.forget_before(NOW + 1)
    feed(learner, [unprompted(OWN)])
    found = read(learner)
    keys, slot_of = learner.state.signals.catalogue.keys, learner.state.signals.catalogue.slot_of
    assert found.history_keys[:3].tolist() == [keys[slot_of("b")], keys[slot_of("a")], 0]
    assert late_features() == late + 1
    assert column(found, "ever") > 0.0, "the present counts, and so they are counted as late"


def labelled(label: int, reason: str, item: str, time: int, label_time: int) -> Example:
    """Of an impression to user u at `time`, without features."""
    return Example(
        user_id="u",
        item_id=item,
        request_id="r",
        label=label,
        weight=1.0,
        reason=reason,
        event_time=time,
        label_time=label_time,
    )


SHOWN_WITHOUT_FEATURES = labelled(0, "window", "c", NOW - 40_000, NOW + 86_400_000)


def test_an_impression_without_features_reads_history_as_of_when_it_was_shown() -> None:
    learner = learner_of(PATIENT)
    feed(learner, [*BEFORE, OWN, *AFTER, SHOWN_WITHOUT_FEATURES])
    found = read(learner)
    keys, slot_of = learner.state.signals.catalogue.keys, learner.state.signals.catalogue.slot_of
    assert found.history_keys[:2].tolist() == [keys[slot_of("a")], 0]


def test_an_impression_without_features_reads_dislikes_as_of_when_it_was_shown() -> None:
    liked = [click(user, item, NOW - 900_000 + at) for user in "xyz" for at, item in enumerate(["c", "d"])]
    for age, expected in ((50_000, True), (40_000, False), (30_000, False)):
        learner = learner_of(PATIENT)
        disliked = msgspec.structs.replace(click("u", "d", NOW - age), action="dislike")
        feed(learner, [*liked, disliked, SHOWN_WITHOUT_FEATURES])
        assert (column(read(learner), "disliked_best") > 4.0) == expected


def test_features_that_come_with_an_example_are_taken_as_they_are() -> None:
    other = learner_of(PATIENT)
    feed(other, [*BEFORE, unprompted(OWN)])
    travelled = other.queue.waiting[0].inputs
    learner = learner_of(PATIENT)
    example = msgspec.structs.replace(unprompted(OWN), features=travelled)
    feed(learner, [*BEFORE, OWN, *AFTER, example])
    assert learner.queue.waiting[0].inputs == travelled


# --- the same as in one process


def test_of_a_click_log_in_order_it_becomes_what_the_embedded_learner_becomes() -> None:
    settings = replace(SMALL, training=replace(SMALL.training, wait_seconds=1e9))
    log = clicked(600)
    embedded, learner = Learner(settings), learner_of(settings)
    embedded.learn(log)
    feed(learner, woven(log, settings, 0))
    assert learner.queue.steps == embedded.queue.steps > 30
    for name, table in embedded.queue.trainer.tables.items():
        keys = np.sort(table.keys())
        assert np.array_equal(np.sort(learner.queue.trainer.tables[name].keys()), keys)
        assert table.lookup(keys).tobytes() == learner.queue.trainer.tables[name].lookup(keys).tobytes()
    assert [one.inputs for one in learner.queue.waiting] == [one.inputs for one in embedded.queue.waiting]


class Judge:
    """Asks two learners about each batch before the embedded one learns from it; the other has not seen it either."""

    def __init__(self, embedded: Learner, learner: DistributedLearner, rest: int) -> None:
        self._learners = (embedded.queue, learner.queue)
        self.found = (BinaryMetrics(), BinaryMetrics())
        self._rest = rest
        embedded.queue.watch = self

    def __call__(self, batch: TrainingBatch) -> None:
        self._rest -= 1
        if self._rest < 0:
            for queue, found in zip(self._learners, self.found, strict=True):
                said = predictions(served_by_torch(queue.trainer.averaged), batch, queue.trainer.tables)
                found.add(said, batch.labels)

    def aucs(self) -> tuple[float, float]:
        embedded, other = (found.auc for found in self.found)
        assert embedded is not None
        assert other is not None
        return embedded, other


SIZES = ModelSettings(
    settings=TwoTowerDcnSettings(item_dim=8, tower_dim=8, user_dim=8, context_dim=4, cross_rank=8, hidden=16)
)


def judged(log: list[Event], settings: Settings, lag: int, *, travelling: bool) -> tuple[float, float]:
    """AUC over what each learns next, of the embedded learner and of one to which examples come `lag` events late."""
    embedded, learner = Learner(settings), learner_of(settings)
    judge = Judge(embedded, learner, rest=len(log) // 48)
    labelling, moments = Labelling(settings), dict[Id | None, bytes]()
    embedded.on_impression = lambda impression, inputs: moments.__setitem__(impression.event_id, inputs)
    made: list[list[Example]] = []
    for event in log:
        embedded.learn([event])
        learner.take_event(event)
        made.append(labelling.take(event, moments.pop(event.event_id, None) if travelling else None))
        feed(learner, made[-1 - lag] if len(made) > lag else [])
    return judge.aucs()


def test_it_learns_a_click_log_as_well_as_the_embedded_learner() -> None:
    embedded, other = judged(clicked(1500), Settings(model=SIZES), 20, travelling=False)
    sys.stdout.write(f"AUC, clicks alone: embedded {embedded:.4f}, examples from elsewhere {other:.4f}\n")
    assert embedded > 0.8
    assert other == pytest.approx(embedded, abs=0.015)


SHOWN = Settings(labels=LabelSettings(window_days=0.001), model=SIZES)


def test_it_learns_impressions_as_well_as_the_embedded_learner() -> None:
    embedded, other = judged(shown_and_clicked(3000), SHOWN, 20, travelling=True)
    sys.stdout.write(f"AUC, impressions: embedded {embedded:.4f}, examples from elsewhere {other:.4f}\n")
    assert embedded > 0.7, "of labels that are presumed, some of them wrongly"
    assert other == pytest.approx(embedded, abs=0.015)


def test_where_features_do_not_travel_it_learns_from_the_present_ones() -> None:
    embedded, other = judged(shown_and_clicked(3000), SHOWN, 20, travelling=False)
    sys.stdout.write(f"AUC, impressions, late features: embedded {embedded:.4f}, from elsewhere {other:.4f}\n")
    assert other > embedded - 0.1, "it costs little, and is far better than nothing"


# --- what it becomes


def test_the_same_inputs_in_the_same_order_give_the_same_bits() -> None:
    inputs = list(woven(shown_and_clicked(300), SMALL, 3))
    learners = [learner_of(SMALL) for _ in range(2)]
    for learner in learners:
        feed(learner, inputs)
    assert learners[0].queue.steps > 10
    assert differences(whole(learners[0]), whole(learners[1])) == []


@pytest.mark.parametrize(("lag", "policy"), [(0, "early"), (7, "conclusive"), (-7, "immediate"), (3, "auto")])
def test_a_restored_learner_goes_on_bit_for_bit(tmp_path: Path, lag: int, policy: str) -> None:
    settings = replace(SMALL, labels=replace(SMALL.labels, policy=policy))  # type: ignore[arg-type]
    log = [event for step in steps(5, 60) if isinstance(step, list) for event in step]
    inputs = list(woven(log, settings, lag))
    steady = learner_of(settings)
    feed(steady, inputs)
    for number, cut in enumerate((len(inputs) // 7, len(inputs) // 2, len(inputs) - 5)):
        begun = learner_of(settings)
        feed(begun, inputs[:cut])
        write_checkpoint(tmp_path / str(number), cut, begun.parts())
        restored = read_checkpoint(tmp_path / str(number))
        assert restored is not None
        again = learner_of(settings)
        again.restore(restored.parts)
        assert differences(whole(again), whole(begun)) == []
        feed(again, inputs[cut:])
        assert differences(whole(again), whole(steady)) == []
    assert steady.queue.steps > 20


def test_a_repeated_event_changes_nothing() -> None:
    learner = learner_of(PATIENT)
    feed(learner, BEFORE)
    before = whole(learner)
    assert not learner.take_event(BEFORE[0])
    assert differences(whole(learner), before) == []


def test_conclusive_waits_until_later_labels_tell_that_the_window_is_over() -> None:
    day = 86_400_000
    learner = learner_of(PATIENT)
    learner.take_example(labelled(1, "action", "a", NOW, NOW + 5))
    learner.take_event(Impression(user_id="v", item_id="z", timestamp=NOW + 3 * day))
    assert learner.queue.waiting == [], "events may be far ahead of labels"
    learner.take_example(labelled(0, "window", "b", NOW, NOW + day))
    assert [one.label for one in learner.queue.waiting] == [0]
    learner.take_example(labelled(0, "window", "c", NOW + 70_000, NOW + day + 70_000))
    assert [one.label for one in learner.queue.waiting] == [0, 1, 0]


def test_time_without_events_takes_the_step_that_waits() -> None:
    learner = learner_of(Settings(model=SIZES))
    feed(learner, [*BEFORE, unprompted(OWN), OWN])
    assert learner.queue.waiting
    learner.tick(NOW + 1000)
    assert not learner.queue.waiting
    assert learner.state.stream_time == NOW + 1000


def test_of_a_deleted_user_nothing_is_left_to_learn_from() -> None:
    learner = learner_of(PATIENT)
    held = labelled(1, "action", "a", NOW, NOW + 5)
    feed(learner, [*BEFORE, unprompted(OWN), click("u", "d", NOW + 9), held])
    assert len(learner.queue.waiting) == 1
    learner.forget("u")
    assert learner.queue.waiting == []
    assert learner.state.histories.row_of("u") == -1
    learner.finish()
    assert learner.queue.trainer.examples == 0
    learner.take_example(unprompted(click("u", "d", NOW + 9)))
    assert not read(learner).history_keys.any()


@pytest.mark.parametrize(("name", "other"), [("two_tower_dcn", "bpr"), ("bpr", "two_tower_dcn"), ("glmix", "bpr")])
def test_features_that_another_model_was_served_with_stop_nothing(name: str, other: str) -> None:
    """Examples wait in Kafka while the model is changed: some come with features, some without."""
    settings = LabelSettings(), SignalSettings()
    writer = DistributedLearner(*settings, ModelSettings(other), TrainSettings())
    learner = DistributedLearner(*settings, ModelSettings(name), TrainSettings(batch=4))
    for number in range(8):
        click = Action(user_id=number % 3, item_id=number % 5, action="click", timestamp=1_700_000_000_000 + number)
        slot, context = writer.state.admit(click)
        features = writer.state.present.impression(click.user_id, slot, context, click.timestamp)
        learner.take_example(
            Example(
                user_id=click.user_id,
                item_id=click.item_id,
                label=1,
                weight=1.0,
                reason="action",
                event_time=click.timestamp,
                label_time=click.timestamp,
                features=features if number % 2 else None,
                action="click",
            )
        )
    learner.finish()
    assert (learner.queue.examples, learner.queue.trainer.examples) == (8, 8)


def take_back(event: Action, seconds: int = 60) -> Retraction:
    time = event.timestamp + 1000 * seconds
    return Retraction(retracts=event.event_id or 0, timestamp=time, user_id=event.user_id)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_what_is_taken_back_was_never_counted(tmp_path: Path, *, restarts: bool, early: bool) -> None:
    gone = [click("u", "a", NOW + 2000), msgspec.structs.replace(click("u", "b", NOW + 3000), action="dislike")]
    retractions = [take_back(event) for event in gone]
    first: list[Event] = [*BEFORE, *(retractions if early else gone)]
    learner, plain = learner_of(PATIENT), learner_of(PATIENT)
    for event in first:
        learner.take_event(event)
    if restarts:
        write_checkpoint(tmp_path / "one", 0, learner.parts())
        restored = read_checkpoint(tmp_path / "one")
        assert restored is not None
        learner = learner_of(PATIENT)
        learner.restore(restored.parts)
    for event in gone if early else retractions:
        learner.take_event(event)
    for event in BEFORE:
        plain.take_event(event)
    states = learner.state, plain.state
    histories = [state.histories.all(state.histories.row_of("u")) for state in states]
    np.testing.assert_array_equal(histories[0].times, histories[1].times)
    totals = [state.signals.counts.everything.totals[0] for state in states]
    assert totals[0] == totals[1]
    assert learner.state.dislikes.of("u").tolist() == []
    learner.take_event(gone[1])
    assert not len(learner.state.dislikes.of("u")), "it had come before"


def test_of_actions_that_can_be_taken_back_the_newest_are_kept_for_the_window() -> None:
    kept = RetractableActions(window_ms=1000, lateness_ms=100, most=3)
    clicks = [click("u", "a", NOW + step) for step in range(5)]
    assert all(kept.add(one) for one in clicks)
    assert len(kept) == 3
    assert kept.take(take_back(clicks[0], 0)) is None
    assert kept.take(Retraction(retracts=clicks[2].event_id or 0, timestamp=NOW, user_id="v")) is None
    assert kept.take(take_back(clicks[2], 2)) is None, "too late"
    assert kept.take(take_back(clicks[3], 1)) == clicks[3]
    kept.expire(NOW + 1005)
    assert len(kept) == 0
    kept.take(take_back(click("w", "x", NOW), 0))
    kept.forget_user("w")
    assert kept.add(click("w", "x", NOW))


# --- heads by kind of action


def test_kinds_are_calibrated_where_labels_are_behind_the_events() -> None:
    shop, settings = ShopOfKinds(), Settings()
    learner = learner_of(settings)
    feed(learner, woven(shop.log(4_000), settings, 3))
    heads, trainer = learner.queue.heads.trainer, learner.queue.trainer
    slots = learner.state.signals.catalogue.slots_of_keys(list(range(ITEMS)))
    context = learner.state.signals.coder.encode(None, learner.now)
    shown = [learner.state.present.impression(user, slot, context, learner.now) for user in users() for slot in slots]
    batch = collate([Inputs.from_bytes(one) for one in shown])
    rows = trainer.tables["heads"].lookup(batch.item_keys)
    odds = heads.published.log_odds(trainer.bottom(batch), rows)
    chances, values = (one.reshape(-1, ITEMS, one.shape[1]).mean(0) for one in heads.published.given_acted(odds))
    assert heads.published.kinds == ("click", "buy")
    # A stream as young as this one, of which some purchases are still to come, says a little too little.
    assert (shop.click * chances[:, 1]).sum() == pytest.approx(shop.buy.sum(), rel=0.15)
    assert (shop.click * values[:, 0]).sum() == pytest.approx(shop.revenue.sum(), rel=0.2)


def test_what_heads_know_is_in_a_checkpoint(tmp_path: Path) -> None:
    settings = Settings()
    whole_run, first = learner_of(settings), learner_of(settings)
    inputs = list(woven(ShopOfKinds().log(500), settings, 2))
    feed(whole_run, inputs)
    feed(first, inputs[:400])
    write_checkpoint(tmp_path / "one", 0, first.parts())
    restored = read_checkpoint(tmp_path / "one")
    assert restored is not None
    second = learner_of(settings)
    second.restore(restored.parts)
    feed(second, inputs[400:])
    assert differences(whole(whole_run), whole(second)) == []
