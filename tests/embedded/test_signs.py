"""Only what speaks for an item is remembered as done; what speaks against it hides it; a retraction undoes either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.export import KnownUser, learner_of, users_of
from stream_reco.embedded.learner import Learner
from stream_reco.events import Action, Event, Id, Retraction
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.train.settings import TrainSettings

NOW = 1_760_000_000_000
START = NOW - 3_600_000
SETTINGS = Settings(
    model=ModelSettings(
        settings=TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=2, context_dim=2, cross_rank=4, hidden=8)
    ),
    training=TrainSettings(batch=16),
)
ITEMS = [f"item {number}" for number in range(12)]


def act(user: Id, item: Id, second: float, kind: str = "click", event_id: Id | None = None) -> Action:
    time = START + round(second * 1000)
    return Action(user_id=user, item_id=item, action=kind, timestamp=time, event_id=event_id)


def take_back(event_id: Id, second: float, user: Id | None = None) -> Retraction:
    return Retraction(retracts=event_id, timestamp=START + round(second * 1000), user_id=user, event_id=f"-{event_id}")


def crowd() -> list[Event]:
    """A catalogue that everybody but Ann uses."""
    return [act(f"user {number}", item, number) for number, item in enumerate(2 * ITEMS)]


def opened(folder: Path | None = None, settings: Settings = SETTINGS) -> Engine:
    return Engine(folder, settings, clock=ManualClock(NOW))


def shown(engine: Engine, user: Id = "ann") -> set[Id]:
    return {one.item_id for one in engine.recommend(user, 20).items}


def known(folder: Path, user: Id) -> KnownUser:
    with learner_of(folder, SETTINGS) as learner:
        return msgspec.json.decode(next(users_of(learner, user)), type=KnownUser)


@pytest.mark.parametrize("keep_seen", [False, True])
def test_what_a_user_dislikes_is_not_shown_to_that_user_until_it_is_taken_back(*, keep_seen: bool) -> None:
    with opened(settings=replace(SETTINGS, slate=SlateSettings(keep_seen=keep_seen))) as engine:
        engine.ingest(crowd())
        engine.sync()
        assert shown(engine) == set(ITEMS)
        for place, kind in enumerate(["dislike", "hide", "report"]):
            engine.ingest([act("ann", ITEMS[place], 100 + place, kind, event_id=kind)])
            # At once: no sync comes between.
            assert ITEMS[place] not in shown(engine)
        assert shown(engine) == set(ITEMS[3:])
        assert shown(engine, "somebody else") == set(ITEMS)
        assert len(engine.score("ann", ITEMS[:3])) == 3
        assert (engine.score("ann", ITEMS[:3]) > 0).all()
        engine.ingest([take_back("hide", 200)])
        assert shown(engine) == {ITEMS[1], *ITEMS[3:]}
        engine.ingest([take_back("report", 201, "somebody else")])
        assert ITEMS[2] not in shown(engine), "it was not theirs to take back"


def test_a_dislike_is_hidden_again_if_only_one_of_two_is_taken_back() -> None:
    with opened() as engine:
        engine.ingest(crowd())
        engine.sync()
        engine.ingest([act("ann", ITEMS[0], 100, "dislike", "one"), act("ann", ITEMS[0], 101, "report", "two")])
        engine.ingest([take_back("one", 102)])
        assert ITEMS[0] not in shown(engine)
        engine.ingest([take_back("two", 103)])
        assert ITEMS[0] in shown(engine)


def test_what_came_retracted_enters_nothing() -> None:
    with opened() as engine:
        engine.ingest(crowd())
        engine.sync()
        engine.ingest([take_back("dislike", 110), act("ann", ITEMS[0], 100, "dislike", "dislike")])
        engine.ingest([take_back("click", 110), act("ann", ITEMS[1], 100, "click", "click")])
        assert shown(engine) == set(ITEMS)
        assert engine.interests("ann") == []


def test_a_click_that_is_taken_back_is_seen_no_longer_unless_another_stands() -> None:
    with opened() as engine:
        engine.ingest(crowd())
        engine.sync()
        engine.ingest([act("ann", ITEMS[0], 100, event_id="one"), act("ann", ITEMS[0], 101, "buy", "two")])
        assert ITEMS[0] not in shown(engine)
        engine.ingest([take_back("one", 102)])
        assert ITEMS[0] not in shown(engine)
        engine.ingest([take_back("two", 103)])
        assert shown(engine) == set(ITEMS)
        assert engine.interests("ann") == []


def test_what_is_hidden_survives_a_restart_and_not_a_deletion(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.ingest(crowd())
        engine.ingest([act("ann", ITEMS[0], 100, "dislike", "one")])
        engine.checkpoint()
        engine.ingest([act("ann", ITEMS[1], 101, "dislike", "two"), act("ann", ITEMS[2], 102)])
    told = known(tmp_path, "ann")
    assert [entry.item_id for entry in told.disliked] == [ITEMS[1], ITEMS[0]]
    assert [entry.item_id for entry in told.history] == [ITEMS[2]]
    with opened(tmp_path) as engine:
        engine.sync()
        assert shown(engine) == set(ITEMS[3:])
        engine.ingest([take_back("one", 103)])
        assert shown(engine) == {ITEMS[0], *ITEMS[3:]}
        engine.forget("ann")
        engine.sync()
        assert shown(engine) == set(ITEMS)
    assert known(tmp_path, "ann").disliked == []


def learned(events: list[Event]) -> Learner:
    learner = Learner(SETTINGS)
    learner.learn(events)
    return learner


def test_what_speaks_against_an_item_or_says_nothing_is_not_counted() -> None:
    plain = learned(crowd())
    rating = Action(user_id="ann", item_id=ITEMS[0], action="rating", value=3.0, timestamp=START + 99_000)
    other = learned([*crowd(), act("ann", ITEMS[0], 99, "dislike"), rating, act("ann", "unheard of", 99, "skip")])
    counts = [learner.state.signals.counts for learner in (plain, other)]
    np.testing.assert_array_equal(counts[0].items.totals, counts[1].items.totals)
    np.testing.assert_array_equal(counts[0].everything.decayed, counts[1].everything.decayed)
    assert other.state.histories.row_of("ann") < 0
    assert "ann" not in other.interests
    assert other.state.dislikes.of("ann").tolist() == [12, 0], "equal times: by item"


def test_interests_are_those_without_what_was_taken_back() -> None:
    clicks: list[Event] = [act("ann", item, 100 + place, event_id=item) for place, item in enumerate(ITEMS)]
    undone = learned([*crowd(), *clicks, take_back(ITEMS[3], 200), take_back(ITEMS[9], 200)])
    plain = learned([*crowd(), *(one for one in clicks if one.event_id not in (ITEMS[3], ITEMS[9]))])
    slots = [learner.state.histories.seen(learner.state.histories.row_of("ann")) for learner in (undone, plain)]
    assert slots[0].tolist() == slots[1].tolist()
    medoids = undone.interests.medoids("ann", START + 200_000)
    mass = plain.interests.medoids("ann", START + 200_000).importance.sum()
    assert medoids.importance.sum() == pytest.approx(mass, rel=1e-6)
    gone = undone.state.signals.catalogue.keys[[undone.state.signals.catalogue.slot_of(ITEMS[p]) for p in (3, 9)]]
    assert not np.isin(gone, medoids.keys).any()


def test_three_clicks_of_one_person_do_not_lift_an_item_for_everybody() -> None:
    def rank(of_ann: list[Event]) -> int:
        quiet: list[Event] = [act(f"user {n % 3}", f"item {n // 3}", n) for n in range(12)]
        signals = learned([*quiet, *of_ann]).state.signals
        signals.refresh(START + 60_000, force=True)
        trending = [signals.catalogue.ids[slot] for slot in signals.trends.trending[-1] if slot >= 0]
        return trending.index("hers")

    assert rank([act("ann", "hers", 50 + place, event_id=place) for place in range(3)]) == 4
    assert rank([act(f"ann {place}", "hers", 50 + place) for place in range(3)]) == 0
