"""What is like an item, held to a plain computation over all items, and what is said of a new one."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, ItemEvent

START = 1_700_000_000_000
ITEMS = 30
KINDS = ("lamp", "chair", "table")


def features_of(item: int) -> dict[str, Any]:
    return {"kind": KINDS[item % 3], "colour": ("red", "blue")[item % 2]}


def clicks(count: int) -> list[tuple[int, int]]:
    """Users and items: each user likes one kind above all. The last three items are never clicked."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(count):
        user = int(rng.integers(25))
        kind = user % 3 if rng.random() < 0.9 else int(rng.integers(3))
        found.append((user, 3 * int(rng.integers((ITEMS - 3) // 3)) + kind))
    return found


def opened(log: list[tuple[int, int]], described: set[int]) -> Engine:
    engine = Engine(None, Settings())
    events: list[Event] = [ItemEvent(item_id=item, timestamp=START, features=features_of(item)) for item in described]
    events += [
        Action(user_id=user, item_id=item, action="click", timestamp=START + 1000 * place)
        for place, (user, item) in enumerate(log, 1)
    ]
    engine.ingest(events, strict=True)
    engine.sync()
    return engine


def expected(engine: Engine, log: list[tuple[int, int]], described: set[int], item: int) -> dict[int, float]:
    """The score of every other item, from the log and from the vectors that are served."""
    users = defaultdict(set)
    for user, one in log:
        users[one].add(user)
    acted = Counter(one for _, one in dict.fromkeys(log))  # an item counts once an hour for a user
    served = engine.scorer._served
    slot_of = {one: served.signals.catalogue.slot_of(one) for one in range(ITEMS)}
    known = [one for one in slot_of if slot_of[one] >= 0]
    tower = served.index.directions_of(np.array([slot_of[one] for one in known]))
    codes = served.encoded.codes.codes[[slot_of[one] for one in known]].astype(np.float64)
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    codes /= np.where(lengths > 0, lengths, 1.0)
    mine, scores = known.index(item), {}
    for place, other in enumerate(known):
        ways = []
        if acted[item]:
            ways.append((1.0, len(users[item] & users[other]) / (math.sqrt(acted[item] * max(acted[other], 1)) + 10.0)))
        if tower[mine].any():
            ways.append((0.1, float(tower[mine] @ tower[place])))
        if codes[mine].any():
            ways.append((0.5, float(codes[mine] @ codes[place])))
        if item in described:
            values = [set(features_of(one).values()) if one in described else set() for one in (item, other)]
            ways.append((0.1, len(values[0] & values[1]) / 2.0))
        total = sum(weight for weight, _ in ways)
        scores[other] = sum(weight * max(alike, 0.0) for weight, alike in ways) / (total or 1.0)
    del scores[item]
    return scores


@pytest.mark.parametrize("described", [set(), set(range(ITEMS)), set(range(0, ITEMS, 2))], ids=["none", "all", "half"])
def test_they_are_the_most_alike_of_all(described: set[int]) -> None:
    # Few enough that no user forgets: two items are counted together while both are among the newest of a user.
    log = clicks(300)
    with opened(log, described) as engine:
        for item in (0, 1, 14, ITEMS - 2):
            found = engine.similar(item, ITEMS)
            if item not in described and item >= ITEMS - 3:
                assert found is None
                continue
            scores = expected(engine, log, described, item)
            assert found is not None
            assert [one.score for one in found] == pytest.approx(
                sorted((score for score in scores.values() if score > 0.0), reverse=True), abs=2e-3
            )
            for one in found:
                assert one.score == pytest.approx(scores[int(one.item_id)], abs=2e-3)


def test_a_new_item_is_like_those_that_the_same_people_like() -> None:
    """Not like those of its colour, which tells nothing; and those with clicks are like a new one as well."""
    with opened(clicks(2000), set(range(ITEMS))) as engine:
        new = ITEMS - 3  # a lamp without a click
        found = engine.similar(new, 5)
        assert found is not None
        assert [int(one.item_id) % 3 for one in found] == [new % 3] * 5
        of_old = engine.similar(0, ITEMS)
        assert of_old is not None
        assert new in [one.item_id for one in of_old]


def test_an_item_that_comes_after_the_last_training_step_is_encoded_by_the_replica() -> None:
    with opened(clicks(1000), set(range(ITEMS))) as engine:
        late = ItemEvent(item_id="late", timestamp=START + 2_000_000, features={"kind": "chair", "colour": "green"})
        engine.ingest([late], strict=True)
        engine.sync()
        found = engine.similar("late", 5)
        assert found is not None
        assert [int(one.item_id) % 3 for one in found if isinstance(one.item_id, int)] == [1] * 5


def test_what_is_described_anew_is_encoded_anew() -> None:
    with opened(clicks(1000), set(range(ITEMS))) as engine:
        changed = ItemEvent(item_id=ITEMS - 3, timestamp=START + 2_000_000, features={"kind": "table"})
        engine.ingest([changed], strict=True)
        engine.sync()
        found = engine.similar(ITEMS - 3, 3)
        assert found is not None
        assert [int(one.item_id) % 3 for one in found] == [2] * 3
