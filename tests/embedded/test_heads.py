"""Heads by kind of action, learned by the loop as it runs: what is answered is what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.export import KnownUser, users_of
from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.learner.head_queue import HeadQueue
from stream_reco.metrics import REGISTRY
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.slate import ScoredItems
from tests.embedded.journal.recovery_world import differences, state_of
from tests.learner.shop_of_kinds import ITEMS, START, USERS, ShopOfKinds, users

SHOP = ShopOfKinds()
PLAIN = Settings(slate=SlateSettings(explore=0.0, fatigue=0.0, keep_seen=True))


@cache
def log() -> list[Event]:
    return SHOP.log(4_000)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(settings=PLAIN) as engine:
        engine.ingest(log())
        engine.sync()
        yield engine


def mean_of(engine: Engine) -> ScoredItems:
    """What is said of each item, mean over some users."""
    said = [engine.predict(user, range(ITEMS)) for user in users()]

    def mean(columns: list[Mapping[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
        return {name: np.mean([one[name] for one in columns], axis=0) for name in columns[0]}

    return ScoredItems(
        np.mean([one.scores for one in said], axis=0),
        mean([one.probabilities for one in said]),
        mean([one.values for one in said]),
    )


def test_every_kind_and_its_value_is_calibrated_and_told_apart_by_item(engine: Engine) -> None:
    said = mean_of(engine)
    assert list(said.probabilities) == ["click", "buy"]
    # How often an item is bought on an impression differs little, what that brings by a factor of ten.
    for name, predicted, truth, least in [
        ("click", said.probabilities["click"], SHOP.click, 0.85),
        ("buy", said.probabilities["buy"], SHOP.buy, 0.7),
        ("revenue", said.values["buy"], SHOP.revenue, 0.85),
    ]:
        assert predicted.sum() == pytest.approx(truth.sum(), rel=0.1), name
        assert np.corrcoef(np.log(predicted), np.log(truth))[0, 1] > least, name
    given_click = said.probabilities["buy"] / said.probabilities["click"]
    assert np.corrcoef(given_click, SHOP.buy_of_click)[0, 1] > 0.85
    np.testing.assert_allclose(said.probabilities["click"], said.scores, rtol=0.02)


def test_heads_change_nothing_of_what_says_that_anything_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(settings=PLAIN) as engine, Engine(settings=PLAIN) as without:
        engine.ingest(log()[:800])
        monkeypatch.setattr(HeadQueue, "label", lambda *_: None)
        monkeypatch.setattr(HeadQueue, "act", lambda *_: None)
        without.ingest(log()[:800])
        one, other = without.learner.queue.trainer, engine.learner.queue.trainer
        states = [trainer.state() for trainer in (one, other)]
        assert [name for name in states[0] if not np.array_equal(states[0][name], states[1][name])] == []
        for name, table in one.tables.items():
            keys = np.arange(USERS)
            np.testing.assert_array_equal(table.lookup(keys), other.tables[name].lookup(keys))
        assert "heads" not in one.tables
        assert "heads" in other.tables


def test_objectives_order_slates_and_are_the_score(engine: Engine) -> None:
    by_any = engine.recommend(1, ITEMS)
    by_clicks = engine.recommend(1, ITEMS, objectives={"click": 2})
    by_purchases = engine.recommend(1, ITEMS, objectives={"buy": 20})
    by_revenue = engine.recommend(1, ITEMS, objectives={"buy.value": 1})
    assert [one.item_id for one in by_clicks.items] == [one.item_id for one in by_any.items]
    for slate, worth in [
        (by_clicks, [2 * one.probabilities["click"] for one in by_clicks.items]),
        (by_purchases, [20 * one.probabilities["buy"] for one in by_purchases.items]),
        (by_revenue, [one.values["buy"] for one in by_revenue.items]),
    ]:
        scores = [one.score for one in slate.items]
        assert scores == pytest.approx(worth, rel=1e-5)
        assert scores == sorted(scores, reverse=True)
    # Of the four items that are bought most often given a click the model is told nothing but what people did.
    bought, clicked = ([one.item_id for one in slate.items].index(2) for slate in (by_purchases, by_any))
    assert bought < clicked
    dear = [one.item_id for one in by_revenue.items][:6]
    assert sum(item in range(1, ITEMS, 2) for item in dear) >= 5, "they cost eight times as much"


def test_objectives_of_the_settings_hold_where_a_request_has_none() -> None:
    with Engine(settings=replace(PLAIN, slate=replace(PLAIN.slate, objectives={"buy": 20.0, "save": 3.0}))) as other:
        other.ingest(log()[:1500])
        other.sync()
        said = other.predict(1, [3, 5])
        np.testing.assert_allclose(said.scores, 20 * said.probabilities["buy"], rtol=1e-5)
        np.testing.assert_array_equal(other.score(1, [3, 5]), said.scores)
        np.testing.assert_allclose(
            other.score(1, [3, 5], objectives={"click": 1}), said.probabilities["click"], rtol=1e-5
        )
        # What the settings weigh may be asked for before anyone has done it; it adds nothing until then.
        assert other.score(1, [3], objectives={"buy": 1, "save": 1})[0] > 0
        assert other.recommend(1, 3, objectives={"save": 1}).items[0].score > 0


def test_exploration_goes_on_by_what_items_are_worth() -> None:
    exploring = replace(PLAIN, slate=replace(PLAIN.slate, explore=0.4))
    with Engine(settings=exploring) as engine:
        engine.ingest(log()[:1500])
        engine.sync()
        slates = [engine.recommend("new", 5, objectives={"buy": 20}) for _ in range(60)]
    items = [one for slate in slates for one in slate.items]
    assert 0.25 < sum(one.source == "exploration" for one in items) / len(items) < 0.55
    assert all(0 < one.propensity <= 1 for one in items)
    assert all(one.score == pytest.approx(20 * one.probabilities["buy"], rel=1e-5) for one in items)
    assert any(one.propensity < 1 for one in items)


def test_an_unknown_objective_is_refused_with_those_there_are(engine: Engine) -> None:
    with pytest.raises(
        RefusedError, match=r"unknown objective 'by': did you mean 'buy'\? known are click, buy, buy\.v"
    ):
        engine.recommend(1, 3, objectives={"by": 1})
    with pytest.raises(RefusedError, match=r"unknown objective 'click\.value'") as refused:
        engine.score(1, [1], objectives={"click.value": 1})
    assert refused.value.reason == "objectives"
    with pytest.raises(RefusedError, match="objectives"):
        engine.recommend(1, 3, objectives={"buy": -1.0})
    for weight in (float("nan"), float("inf")):
        with pytest.raises(RefusedError):
            engine.recommend(1, 3, objectives={"buy": weight})
    assert engine.recommend(1, 3, objectives={"buy": np.float32(2)}).items  # type: ignore[dict-item]
    assert engine.recommend(1, 3, objectives={"buy": 0}).items[0].score == 0


def test_of_one_kind_all_that_is_acted_on_is_of_that_kind() -> None:
    with Engine(settings=PLAIN) as engine:
        assert engine.predict(1, [1]).probabilities == {}
        engine.ingest([event for event in log()[:800] if not (isinstance(event, Action) and event.action == "buy")])
        engine.sync()
        assert all(one.probabilities == {"click": one.score} for one in engine.recommend(1, 5).items)
        assert engine.predict(1, [1]).values == {}
        assert engine.recommend(1, 5, objectives={"click": 3}).items[0].score > engine.recommend(1, 5).items[0].score
        assert engine.learner.queue.heads.trainer.steps == 0


def test_it_is_measured_by_kind_before_it_is_learned(engine: Engine) -> None:
    engine.sync()
    calibration = {
        kind: REGISTRY.get_sample_value("stream_reco_head_calibration", {"kind": kind})
        for kind in ("click", "buy", "buy.value")
    }
    assert calibration == {kind: pytest.approx(1.0, abs=0.2) for kind in calibration}
    entropy = -(SHOP.buy_of_click * np.log(SHOP.buy_of_click) + (1 - SHOP.buy_of_click) * np.log1p(-SHOP.buy_of_click))
    expected = float((SHOP.click * entropy).sum() / SHOP.click.sum())
    share = REGISTRY.get_sample_value("stream_reco_head_share", {"kind": "buy"})
    assert share == pytest.approx(float((SHOP.click * SHOP.buy_of_click).sum() / SHOP.click.sum()), abs=0.1)
    assert REGISTRY.get_sample_value("stream_reco_head_share", {"kind": "click"}) == pytest.approx(1.0)
    loss = REGISTRY.get_sample_value("stream_reco_head_logloss", {"kind": "buy"})
    assert loss == pytest.approx(expected, abs=0.1)


def test_it_recommends_after_a_restart_between_the_first_action_of_a_kind_and_the_next_step(tmp_path: Path) -> None:
    events = log()[:1500]
    first = next(at for at, event in enumerate(events) if isinstance(event, Action) and event.action == "buy")
    with Engine(tmp_path, PLAIN) as engine:
        engine.ingest(events[: first + 1])
        engine.checkpoint()
        assert engine.learner.queue.heads.trainer.slots.kinds == ["click", "buy"]
        assert not engine.learner.queue.heads.trainer.published.active
    with Engine(tmp_path, PLAIN) as engine:
        engine.sync()
        assert all(list(one.probabilities) == ["click"] for one in engine.recommend(1, 5).items)
        engine.ingest(events[first + 1 :])
        engine.sync()
        assert all(list(one.probabilities) == ["click", "buy"] for one in engine.recommend(1, 5).items)


def test_a_restart_ends_where_an_undisturbed_run_does(tmp_path: Path) -> None:
    events = log()[:1200]
    with Engine(tmp_path / "one", PLAIN) as engine:
        engine.ingest(events)
        undisturbed = state_of(engine.learner)
    with Engine(tmp_path / "two", PLAIN) as engine:
        engine.ingest(events[:700])
        engine.checkpoint()
        engine.ingest(events[700:900])
    with Engine(tmp_path / "two", PLAIN) as engine:
        assert engine.recommend(1, 3).items[0].probabilities.keys() == {"click", "buy"}
        engine.ingest(events[900:])
        assert differences(undisturbed, state_of(engine.learner)) == []


def test_of_a_deleted_user_no_action_is_remembered() -> None:
    with Engine(settings=PLAIN) as engine:
        engine.ingest(log()[:600])
        acted = engine.learner.queue.heads.acted
        some, item, impression = acted.state()[0][0]
        exported = msgspec.json.decode(next(users_of(engine.learner, some)), type=KnownUser)
        assert {(one.item_id, one.timestamp) for one in exported.acted_on} >= {(item, impression.shown_at)}
        assert {one.action for some in exported.acted_on for one in some.actions} <= {"click", "buy"}
        engine.forget(some)
        assert all(user != some for part in acted.state() for user, *_ in part)
        assert len(acted)


def test_what_is_taken_back_is_unlearned() -> None:
    """Everything that is bought is returned before it is used: nobody is expected to keep anything."""
    with Engine(settings=PLAIN) as engine:
        engine.ingest(log()[:2000])
        engine.sync()
        before = float(mean_of(engine).probabilities["buy"].sum())
        back = [
            Retraction(retracts=event.event_id or "", user_id=event.user_id, timestamp=log()[1999].timestamp)
            for event in log()[:2000]
            if isinstance(event, Action) and event.action == "buy"
        ]
        engine.ingest(back)
        engine.tick(log()[1999].timestamp + 60_000)
        engine.sync()
        assert float(mean_of(engine).probabilities["buy"].sum()) < 0.7 * before
        engine.ingest([one for one in log()[2000:2600] if not (isinstance(one, Action) and one.action == "buy")])
        engine.sync()
        assert float(mean_of(engine).probabilities["buy"].sum()) < before / 2


def test_a_single_kind_with_values_has_them_in_its_answers() -> None:
    """Watch time of a film that is always watched to its end."""
    seconds = {0: 60.0, 1: 600.0}
    events: list[Event] = []
    for number in range(600):
        time, item = START + number * 1000, number % 2
        request = f"r{number}"
        events.append(Impression(user_id=number % 30, item_id=item, timestamp=time, request_id=request))
        if number % 4 < 2:
            events.append(
                Action(
                    user_id=number % 30,
                    item_id=item,
                    action="play",
                    timestamp=time + 500,
                    request_id=request,
                    value=seconds[item],
                )
            )
    with Engine(settings=PLAIN) as engine:
        engine.ingest(events)
        engine.sync()
        said = engine.predict(100, [0, 1])
        np.testing.assert_allclose(said.probabilities["play"], said.scores)
        np.testing.assert_allclose(said.values["play"] / said.scores, [60.0, 600.0], rtol=0.25)
        assert [one.item_id for one in engine.recommend(100, 2, objectives={"play.value": 1}).items] == [1, 0]
