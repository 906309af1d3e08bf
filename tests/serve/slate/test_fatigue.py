"""What was passed over goes down by the formula, and by nothing but the order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.events import Id
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.fatigue import FREE_TIMES, fatigue_shift
from stream_reco.serve.slate.ordering import ordering_values
from stream_reco.serve.slate.request import Request
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposure
from stream_reco.signals.settings import DAY_MS
from tests.serve.small_shop import NOW, SmallShop


def exposure(shown: dict[int, tuple[int, int]]) -> Exposure:
    counts, times = [count for count, _ in shown.values()], [NOW - age for _, age in shown.values()]
    return Exposure(np.array(list(shown), np.int32), np.array(counts, np.int32), np.array(times, np.int64))


@given(
    scores=st.dictionaries(st.integers(0, 40), st.floats(0.0, 1.0, width=32), max_size=20),
    shown=st.dictionaries(
        st.integers(0, 60), st.tuples(st.integers(1, 65_535), st.integers(-60_000, 9 * DAY_MS)), max_size=20
    ),
    weight=st.floats(0.0, 3.0),
)
def test_log_odds_go_down_by_the_logarithm_of_the_times(
    scores: dict[int, float], shown: dict[int, tuple[int, int]], weight: float
) -> None:
    given_scores = np.array(list(scores.values()), dtype=np.float32)
    shift = fatigue_shift(np.array(list(scores), np.int32), exposure(shown), NOW, weight)
    found = ordering_values(given_scores, [] if shift is None else [shift])
    for (slot, score), value in zip(scores.items(), found.tolist(), strict=True):
        count, age = shown.get(slot, (0, 0))
        times = max(count * 2 ** (-max(age, 0) / DAY_MS) - FREE_TIMES, 0.0)
        chance = min(max(score, 1e-7), 1.0 - 1e-7)
        log_odds = math.log(chance) - math.log1p(-chance) - weight * math.log1p(times)
        assert value == pytest.approx(1 / (1 + math.exp(-log_odds)), rel=1e-5, abs=2e-7)


def test_who_was_shown_nothing_gets_the_very_scores() -> None:
    assert fatigue_shift(np.array([3, 4], np.int32), NOTHING_SHOWN, NOW, 1.0) is None
    scores = np.array([0.5, 0.25], dtype=np.float32)
    assert ordering_values(scores, []) is scores


def shop_of(items: list[Id], fatigue: float) -> SmallShop:
    shop = SmallShop(SlateSettings(fatigue=fatigue, explore=0.0))
    for step in range(60):
        shop.act(100 + step % 9, items[step % len(items)], NOW - 100_000 + 1_000 * step)
    shop.sync()
    return shop


def test_what_is_shown_again_and_again_makes_room_and_keeps_its_score() -> None:
    items: list[Id] = [f"i{number}" for number in range(12)]
    shop, seen = shop_of(items, 1.0), set[Id]()
    first = shop.scorer.recommend_many([Request("u", 3)], NOW)[0].items
    for step in range(40):
        slate = shop.scorer.recommend_many([Request("u", 3)], NOW + step)[0].items
        scores = shop.scorer.score(Request("u"), [one.item_id for one in slate], NOW + step)
        assert [one.score for one in slate] == pytest.approx(scores.tolist(), rel=1e-5)
        seen.update(one.item_id for one in slate)
        for one in slate:
            shop.show("u", one.item_id, NOW + step)
    assert seen == set(items)
    # Nobody else's slates change by it, and an action ends it.
    other = shop.scorer.recommend_many([Request("v", 3)], NOW)[0].items
    assert [one.item_id for one in other] == [one.item_id for one in first]
    assert shop.moment("u", NOW).shown.slots.tolist()
    for item in items:
        shop.exposures.acted("u", shop.signals.catalogue.slot_of(item))
    again = shop.scorer.recommend_many([Request("u", 3)], NOW)[0].items
    assert [one.item_id for one in again] == [one.item_id for one in first]


def test_it_can_be_switched_off() -> None:
    items: list[Id] = [f"i{number}" for number in range(12)]
    shop, slates = shop_of(items, 0.0), set[tuple[Id, ...]]()
    for _ in range(12):
        slate = tuple(one.item_id for one in shop.scorer.recommend_many([Request("u", 3)], NOW)[0].items)
        slates.add(slate)
        for item in slate:
            shop.exposures.add("u", shop.signals.catalogue.slot_of(item), NOW)
    assert len(slates) == 1
