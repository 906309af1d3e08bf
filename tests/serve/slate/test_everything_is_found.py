"""Whatever is available, matches and is not left out can be in a slate, and is where there is room: against sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import Retriever
from stream_reco.serve.slate.request import Request
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from tests.serve.small_shop import NOW, SmallShop

ITEM = st.integers(0, 39)
NOTHING = np.empty(0, dtype=np.int32)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def items_of(shop: SmallShop, request: Request) -> list[Id]:
    return [one.item_id for one in shop.scorer.recommend_many([request], NOW)[0].items]


@settings(max_examples=20, deadline=None)
@given(
    kinds=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    withdrawn=st.sets(ITEM, max_size=20),
    acted=st.lists(ITEM, max_size=30),
    trained=st.sets(ITEM, max_size=40),
    excluded=st.sets(ITEM, max_size=20),
    wanted=st.sampled_from(
        [
            (None, {0, 1, 2, 3}),
            ({"kind": 0}, {0}),
            ({"kind": [1, 2]}, {1, 2}),
            ({"kind": {"gte": 2}}, {2, 3}),
            ({"kind": {"not": 0}}, {1, 2, 3}),
            ({"kind": {"exists": False}}, set()),
        ]
    ),
    k=st.integers(1, 50),
    limit=st.sampled_from([0, 5, 600]),
)
def test_a_slate_has_k_items_wherever_there_are_so_many(
    kinds: list[int],
    withdrawn: set[int],
    acted: list[int],
    trained: set[int],
    excluded: set[int],
    wanted: tuple[dict[str, Any] | None, set[int]],
    k: int,
    limit: int,
) -> None:
    filters, passing = wanted
    shop = SmallShop(retrieve=RetrieveSettings(limit=limit, fresh=3, tower=2, trending=2, covisits=1, interests=1))
    for item, kind in enumerate(kinds):
        shop.describe(item, {"kind": kind}, available=item not in withdrawn)
    acted = [item for item in acted if item < len(kinds)]
    for step, item in enumerate(acted):
        shop.act("ann" if step % 3 else "ben", item, NOW - 1000 + step)
    shop.train([item for item in trained if item < len(kinds)])
    shop.sync()
    seen = {item for step, item in enumerate(acted) if step % 3}
    eligible = {item for item, kind in enumerate(kinds) if kind in passing} - withdrawn - excluded - seen
    found = items_of(shop, Request("ann", k, exclude=sorted(excluded), filters=filters))
    assert len(found) == len(set(found)) == min(k, len(eligible))
    assert set(found) <= eligible


def test_of_few_that_pass_the_filters_all_are_ranked() -> None:
    shop = SmallShop()
    for item in range(3000):
        shop.describe(item, {"shelf": item % 20, "rare": item in (5, 1700, 2999)})
    for step in range(200):
        shop.act(f"u{step % 9}", 20 * step % 1000 + 1, NOW - 1000 + step)
    shop.train(list(range(1000)))
    shop.sync()
    assert sorted(map(str, items_of(shop, Request("new", 10, filters={"rare": True})))) == ["1700", "2999", "5"]
    before = shop.scorer.candidates
    assert len(items_of(shop, Request("new", 10, filters={"shelf": 7}))) == 10
    assert shop.scorer.candidates - before == 150, "all of the shelf"
    assert len(items_of(shop, Request("new", 1000))) == 1000, "more than retrieve.limit"


def test_a_withdrawn_item_takes_no_place_of_a_source() -> None:
    """The nearest of the vectors and the most popular are all withdrawn: others take their places."""
    shop = SmallShop(retrieve=RetrieveSettings(without=("fresh", "covisits", "context")))
    for item in range(300):
        shop.act("crowd", item, NOW - 10)
        if item < 250:
            shop.describe(item, {}, available=False)
    shop.train(list(range(300)))
    shop.sync()
    assert set(items_of(shop, Request("new", 100))) == set(range(250, 300))


def proposed(retriever: Retriever, signals: Signals, turn: NDArray[np.int32]) -> NDArray[np.int32]:
    """The candidates of somebody of whom nothing is known."""
    recent, context = np.full(RECENT, -1, dtype=np.int32), signals.coder.encode(None, NOW)
    return retriever.candidates(signals, recent, context, NOTHING, (NOTHING, NOTHING), turn)[0]


def test_every_item_of_a_catalogue_is_proposed_within_a_round_of_requests() -> None:
    """Two thousand items, of which a few are popular and most were never shown; none is shown while they are asked."""
    signals = Signals(SignalSettings())
    for item in range(2000):
        signals.describe(item, Statement(NOW - item, {"kind": item % 2}))
    for item in range(30):
        signals.show(signals.admit(item), NOW)
    signals.refresh(NOW, force=True)
    retrieve = RetrieveSettings()
    retriever = Retriever(retrieve)
    found: set[int] = set()
    for _ in range(2000 // (retrieve.fresh // 2)):
        turn = retriever.turn(10, signals.catalogue.size, filtered=False)
        slots = proposed(retriever, signals, turn)
        assert len(slots) == 100
        found |= set(slots.tolist())
    assert found == set(range(2000))


def test_what_was_shown_least_is_proposed_first() -> None:
    signals = Signals(SignalSettings())
    for item in range(500):
        signals.describe(item, Statement(NOW - 1000 + item, {}))
    rng = np.random.default_rng(3)
    shown = rng.permutation(500)[:400]
    for item in shown:
        for _ in range(1 + int(item) % 3):
            signals.show(signals.catalogue.slot_of(int(item)), NOW)
    signals.refresh(NOW, force=True)
    never = set(range(500)) - set(shown.tolist())
    retriever = Retriever(RetrieveSettings(fresh=40))
    counts = np.zeros(500)
    for _ in range(50):
        turn = np.minimum(retriever.turn(1, 500, filtered=False), [1 << 30, 1 << 30, 0]).astype(np.int32)
        slots = proposed(retriever, signals, turn)
        counts[slots] += 1
    newest = sorted(never, reverse=True)[:80]
    assert counts[newest].min() >= 12, "a quarter of the requests, of those whose turn it is"
    assert counts[sorted(shown.tolist())].mean() < 4
