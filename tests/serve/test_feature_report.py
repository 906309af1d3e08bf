"""What `GET /v1/features` says, of a loop that learned from what it reports."""

from __future__ import annotations

import numpy as np
import pytest

from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent, UserEvent
from stream_reco.serve.feature_report import Feature, FeatureReport

START = 1_700_000_000_000
ITEMS, USERS, REQUESTS = 60, 20, 300
COLOURS = ("red", "blue")


def described() -> list[Event]:
    items: list[Event] = [
        ItemEvent(
            item_id=item,
            timestamp=START,
            features={
                "colour": COLOURS[item % 2],
                "coin": "heads" if (item * 7 // 3) % 2 else "tails",
                "shop": "here",
                "sku": f"sku-{item}",
                "weight": float(item % 5),
                "mixed": "text" if item % 10 == 9 else item,
                "look": [float(item % one) for one in range(1, 10)],
            },
            vector=[1.0, float(item)] if item % 4 else [1.0, 2.0, 1e39],
        )
        for item in range(ITEMS)
    ]
    users: list[Event] = [
        UserEvent(user_id=user, timestamp=START, features={"likes": COLOURS[user % 2]} if user < 15 else {"age": user})
        for user in range(USERS)
    ]
    return items + users


@pytest.fixture(scope="module")
def report() -> FeatureReport:
    """After people were shown slates, and clicked what is of the colour that they like."""
    rng = np.random.default_rng(1)
    with Engine() as engine:
        engine.ingest(described(), strict=True)
        for number in range(REQUESTS):
            now, user = START + (number + 1) * 2_000, int(rng.integers(USERS))
            engine.tick(now)
            engine.sync()
            slate = engine.recommend(user, 5, now=now)
            events: list[Event] = []
            for place, item in enumerate(slate.items):
                about = {"user_id": user, "item_id": item.item_id, "request_id": slate.request_id}
                events.append(Impression(**about, position=place, timestamp=now))  # type: ignore[arg-type]
                assert isinstance(item.item_id, int)
                if item.item_id % 2 == user % 2 and rng.random() < 0.3:
                    events.append(Action(**about, action="click", timestamp=now + 400))  # type: ignore[arg-type]
            engine.ingest(events, strict=True)
        engine.sync()
        return engine.features()


def feature(report: FeatureReport, side: str, name: str) -> Feature:
    (found,) = [one for one in report.features if (one.side, one.name) == (side, name)]
    return found


def test_all_features_are_there_with_kind_coverage_and_cardinality(report: FeatureReport) -> None:
    seen = {(one.side, one.name): (one.kind, one.coverage, one.cardinality) for one in report.features}
    assert seen == {
        ("item", "colour"): ("category", 1.0, 2),
        ("item", "coin"): ("category", 1.0, 2),
        ("item", "shop"): ("category", 1.0, 1),
        ("item", "sku"): ("category", 1.0, ITEMS),
        ("item", "weight"): ("number", 1.0, 0),
        ("item", "mixed"): ("number", 0.9, 0),
        ("item", "look[9]"): ("vector", 1.0, 0),
        ("item", "vector[2]"): ("vector", 0.75, 0),
        ("user", "likes"): ("category", 0.75, 2),
        ("user", "age"): ("number", 0.25, 0),
    }
    assert report.refused == ITEMS / 4, "vectors that are not finite in 32 bits"


def test_what_is_of_no_use_is_named(report: FeatureReport) -> None:
    notes = {one.name: one.notes for one in report.features}
    assert notes["shop"] == ["constant"]
    assert notes["sku"] == ["unique"]
    assert notes["colour"] == []
    assert feature(report, "item", "mixed").misfits == ITEMS / 10


def test_the_model_leans_on_what_decides_clicks(report: FeatureReport) -> None:
    leaning = {one.name: one.leaning for one in report.features}
    assert leaning["colour"] > max(leaning["coin"], leaning["weight"])
    assert leaning["likes"] > 2 * leaning["age"]
    assert leaning["sku"] == 0.0
    assert leaning["shop"] < leaning["colour"] / 10


def test_requests_with_nothing_to_choose_from_are_no_part_of_it() -> None:
    with Engine() as engine:
        engine.ingest(
            [
                ItemEvent(item_id=1, timestamp=START, features={"colour": "red"}),
                UserEvent(user_id=1, timestamp=START, features={"likes": "red"}),
                Action(user_id=1, item_id=1, action="click", timestamp=START),
            ],
            strict=True,
        )
        engine.sync()
        assert engine.recommend(1, 3).items == []
        assert [one.leaning for one in engine.features().features] == [0.0, 0.0]
