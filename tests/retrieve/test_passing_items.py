"""Items that pass, found by lists or by a look at all, against a brute force; and what sources do with either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.retrieve import passing_items
from stream_reco.retrieve.filters import parse_filters, passing
from stream_reco.retrieve.passing_items import PassingItems
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import Retriever
from stream_reco.signals import feature_columns, postings
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from tests.retrieve.test_filters import FEATURES, FILTERS, by_hand, filtered

ITEM = st.integers(0, 12)
EVENT = st.one_of(
    st.tuples(st.just("say"), ITEM, FEATURES),
    st.tuples(st.just("replace"), ITEM, FEATURES),
    st.tuples(st.just("available"), ITEM, st.booleans()),
    st.tuples(st.just("forget"), ITEM, st.none()),
    st.tuples(st.just("restore"), st.none(), st.none()),
    st.tuples(st.just("mirror"), st.none(), st.none()),
)


class Shop:
    """A catalogue, and one beside it that mirrors it slot by slot."""

    def __init__(self) -> None:
        self.catalogue, self.time = Catalogue(), 0
        self.mirror = Catalogue(self.catalogue.content.fields, beside=self.catalogue)
        self.changed: set[int] = set()

    def happen(self, what: str, item: Any, given: Any) -> None:
        catalogue, self.time = self.catalogue, self.time + 1
        if what == "restore":
            self.catalogue = Catalogue.from_state(catalogue.state(), catalogue.content.fields)
            self.mirror = Catalogue(self.catalogue.content.fields, beside=self.catalogue)
            self.changed = set(range(catalogue.size))
        elif what == "mirror":
            self.mirror.apply(catalogue.rows(np.array(sorted(self.changed), dtype=np.int32)))
            self.changed = set()
        elif what == "forget":
            slots = [slot for slot in [catalogue.slot_of(item)] if slot >= 0]
            catalogue.release(slots)
            catalogue.rested()
            self.changed |= set(slots)
        else:
            slot = catalogue.admit(item)
            if what == "available":
                catalogue.describe(slot, Statement(self.time, {}, given))
            else:
                catalogue.describe(slot, Statement(self.time, given, replace=what == "replace"))
            self.changed.add(slot)

    def check(self, filters: list[dict[str, Any]]) -> None:
        for catalogue in (self.catalogue, self.mirror):
            available = catalogue.available[: catalogue.size].tolist()
            for one in filters:
                assert filtered(catalogue, one) == by_hand(catalogue.features, available, one)


@settings(max_examples=250, deadline=None)
@given(
    st.lists(EVENT, min_size=1, max_size=16),
    st.lists(FILTERS, min_size=1, max_size=3),
    st.sampled_from([0, 1, 3, 10**9]),
    st.sampled_from([1, 3, 1000]),
)
def test_what_passes_is_what_a_brute_force_finds_whichever_way_it_is_found(
    events: list[tuple[str, Any, Any]], filters: list[dict[str, Any]], few: int, log: int
) -> None:
    shop = Shop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passing_items, "_FEWEST", few)
        patch.setattr(postings, "_SHORTEST_LOG", log)
        patch.setattr(feature_columns, "_SPARE_VALUES", log)
        for event in events:
            shop.happen(*event)
            shop.check(filters)


# So few values that items often get what they or others had, and filters ask for it.
VALUES: list[Any] = ["a", "b", 1, True, 2**53 + 1]
SAID: list[Any] = [*VALUES, None, [], [None], ["a", "b"], ["b", 1, "b"], [True, None, 1], ["a", 2**53, 2**53 + 1]]
ASKED: list[Any] = [*VALUES, None, ["a", "b"], [1, None], {"gte": 1, "lt": 2**53 + 1}, {"gt": 2**53}, {"exists": True}]
ASKED += [{"not": one} for one in ASKED] + [{"not": {"not": one, "lte": 5}} for one in ASKED] + [{"gte": 1, "not": 1}]
KINDS = ["say", "say", "say", "replace", "available", "forget", "mirror", "restore"]


@pytest.mark.parametrize("few", [0, 5, 10**9])
@pytest.mark.parametrize("log", [2, 1000])
def test_what_passes_is_what_a_brute_force_finds_over_a_long_life(
    few: int, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing_items, "_FEWEST", few)
    monkeypatch.setattr(postings, "_SHORTEST_LOG", log)
    rng, shop = np.random.default_rng(few + log), Shop()

    def drawn(of: list[Any]) -> Any:
        return {name: of[rng.integers(len(of))] for name in ("kind", "price")[: rng.integers(1, 3)]}

    for _ in range(300):
        what = KINDS[rng.integers(len(KINDS))] if rng.random() > 0.2 else "say"
        shop.happen(what, int(rng.integers(25)), bool(rng.integers(2)) if what == "available" else drawn(SAID))
        shop.check([drawn(ASKED) for _ in range(6)])


def shelves(items: int) -> Catalogue:
    """Each item on one of a hundred shelves, with a price of its own; one in ten has a sale."""
    catalogue = Catalogue()
    for item in range(items):
        features = {"shelf": item % 100, "price": item} | ({"sale": [1, 2]} if item % 10 == 0 else {})
        catalogue.describe(catalogue.admit(item), Statement(1, features))
    return catalogue


@pytest.mark.parametrize(
    ("filters", "listed"),
    [
        ({"shelf": 7}, True),
        ({"shelf": {"not": {"gte": 3}}}, True),
        ({"shelf": {"gte": 3}}, False),
        ({"shelf": {"not": 7}}, False),
        ({"sale": 1, "shelf": {"not": 20}, "price": {"gte": 20}}, False),
        ({"price": {"gte": 100, "lt": 200}}, True),
        ({"price": {"gte": 100}, "sale": 1, "shelf": [0, 1, 2]}, True),
        ({"price": {"gte": 100, "not": {"lt": 39_900}}}, False),
        ({"nothing": {"exists": True}}, True),
        ({"nothing": None}, False),
        ({"shelf": "7"}, True),
    ],
)
def test_a_look_at_all_items_is_taken_only_where_many_pass_each_condition(
    filters: dict[str, Any], listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = shelves(40_000)
    wanted = by_hand(catalogue.features, [True] * 40_000, filters)
    assert filtered(catalogue, filters) == wanted
    looked = list[Any]()
    with_any = postings.Postings.with_any

    def looking(*given: Any) -> Any:
        looked.append(given)
        return with_any(*given)

    monkeypatch.setattr(postings.Postings, "with_any", looking)
    found = passing(catalogue, parse_filters(filters))
    assert bool(looked) == (not listed and "nothing" not in filters)
    # What many passed singly and few together is a list all the same.
    assert (found.slots is not None) == (sum(wanted) <= 2500)


@pytest.mark.parametrize("count", [0, 1, 40, 3000])
def test_sources_propose_the_same_by_a_list_and_by_a_mask(count: int) -> None:
    signals = Signals(SignalSettings())
    for item in range(3000):
        signals.describe(item, Statement(1 + item, {"kind": item % 2}))
    context = signals.coder.encode({"device": "phone"}, 1)
    nobody = np.full(RECENT, -1, dtype=np.int32)
    rng = np.random.default_rng(count)
    for item in rng.integers(0, 3000, 400).tolist():
        signals.act(item, nobody, np.zeros(RECENT, dtype=np.int64), context, 4000)
    signals.refresh(5000, force=True)
    mask = np.zeros(3000, dtype=np.bool_)
    mask[rng.permutation(3000)[:count]] = True
    nothing = np.empty(0, dtype=np.int32)
    found = []
    for items in (PassingItems(None, mask), PassingItems(np.flatnonzero(mask).astype(np.int32))):
        retriever = Retriever(RetrieveSettings(trending=20))
        for _ in range(3):
            turn = retriever.turn(10, 3000, filtered=True)
            proposed = retriever.candidates(signals, nobody, context, nothing, (nothing, nothing), turn, items)
            assert len(proposed[0]) >= min(count, 200)
            found.append([part.tolist() for part in proposed])
    assert found[:3] == found[3:]
