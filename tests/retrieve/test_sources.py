"""The sources together: quotas, what may not be shown, and who proposed what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import INTERESTS, SOURCES, TOWER, Retriever, source_name
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.signals.candidates import CONTEXTUAL, COVISIT, FRESH, NEIGHBOUR, TRENDING
from stream_reco.signals.history import Histories
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals

START = 1_600_000_000_000
DAY = 86_400_000
DIM = 4
IDS: list[int | str] = [-(2**63), 2**63 - 1, 0, "0", "😀", "fresh", "gone", "away", "seen"]
NOTHING = np.empty(0, dtype=np.int32)
TURN = np.zeros(3, dtype=np.int32)
"""The first request of all, which wants no more candidates than there happen to be."""
Floats = NDArray[np.float32]


def index_of(vectors: Floats) -> VectorIndex:
    index = VectorIndex(DIM)
    index.upsert(np.arange(len(vectors), dtype=np.int64), vectors)
    return index


def nearest(vectors: Floats, query: Floats, k: int) -> list[int]:
    scores = vectors @ query
    return sorted(range(len(vectors)), key=lambda slot: (-scores[slot], slot))[:k]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 9999),
    items=st.integers(0, 30),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    tower=st.integers(0, 12),
    interests=st.integers(0, 12),
)
def test_neighbours_are_the_nearest_of_each_request(
    seed: int, items: int, counts: list[int], tower: int, interests: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(items, DIM)).astype(np.float32)
    users = rng.normal(size=(len(counts), DIM)).astype(np.float32)
    medoids = [rng.normal(size=(count, DIM)).astype(np.float32) for count in counts]
    retriever = Retriever(RetrieveSettings(tower=tower, interests=interests))
    proposals = retriever.near(index_of(vectors), users, medoids, [None] * len(counts))
    assert len(proposals) == len(counts)
    for (slots, bits), user, mine in zip(proposals, users, medoids, strict=True):
        assert slots.dtype == bits.dtype == np.int32
        by_user = [slot for slot in slots[bits == TOWER].tolist() if slot >= 0]
        assert by_user == nearest(vectors, user, tower)
        by_medoid = [slot for slot in slots[bits == INTERESTS].tolist() if slot >= 0]
        assert (bits == INTERESTS).sum() <= interests
        share = -(-interests // len(mine)) if len(mine) else 0
        rounds = [nearest(vectors, medoid, share) for medoid in mine]
        wanted = [one[place] for place in range(min(share, items)) for one in rounds]
        assert by_medoid == wanted[: min(interests, len(wanted))]


def test_vectors_are_left_out_by_setting() -> None:
    index = index_of(np.eye(DIM, dtype=np.float32))
    user = [np.ones(DIM, dtype=np.float32)]
    for without, left in ((("tower",), INTERESTS), (("interests",), TOWER)):
        ((_, bits),) = Retriever(RetrieveSettings(without=without)).near(
            index, np.array(user), [np.array(user)], [None]
        )
        assert set(bits.tolist()) == {left}


def small_world() -> tuple[Signals, Histories]:
    """One user who acted on all of a few items; one of them was taken out, one has left, one is only described."""
    signals, histories = Signals(SignalSettings(item_idle_days=1.0)), Histories(SignalSettings())
    signals.show(signals.admit("gone"), START - 3 * DAY)
    assert signals.evict(START).tolist() == [0]
    for number, item in enumerate(IDS):
        if item in ("fresh", "gone"):
            continue
        now = START + number
        slot = signals.admit(item)
        signals.learn_context({"device": "phone"})
        row = max(histories.row_of("u"), 0)
        signals.act(
            slot,
            histories.items[row].copy(),
            histories.times[row].copy(),
            signals.coder.encode({"device": "phone"}, now),
            now,
        )
        histories.add("u", slot, now)
    signals.describe("fresh", Statement(START + 50, {}, True))
    signals.describe("away", Statement(START + 60, {}, False))
    signals.refresh(START + 100, force=True)
    return signals, histories


def asked(retrieve: RetrieveSettings, blocked: NDArray[np.int32] = NOTHING) -> dict[int | str, int]:
    """Item → source bits of the candidates of the small world's user, who comes by phone."""
    signals, histories = small_world()
    context = signals.coder.encode({"device": "phone"}, START + 100)
    retriever = Retriever(retrieve)
    slots, bits = retriever.candidates(signals, histories.items[0], context, blocked, (NOTHING, NOTHING), TURN)
    assert len(set(slots.tolist())) == len(slots)
    found = {}
    for slot, bit in zip(slots.tolist(), bits.tolist(), strict=True):
        item = signals.catalogue.ids[slot]
        assert item is not None
        found[item] = bit
    return found


def test_every_available_item_is_found_by_its_own_id() -> None:
    found = asked(RetrieveSettings())
    acted = TRENDING | COVISIT | CONTEXTUAL | FRESH | NEIGHBOUR
    assert found == {item: FRESH if item == "fresh" else acted for item in IDS if item not in ("gone", "away")}
    assert {type(item) for item in found} == {int, str}


def test_what_each_source_brought_is_counted() -> None:
    def counts() -> dict[str, float]:
        name = "stream_reco_candidates_total"
        return {one: metrics.REGISTRY.get_sample_value(name, {"source": one}) or 0.0 for one in SOURCES}

    before = counts()
    found = asked(RetrieveSettings())
    assert {name: now - before[name] for name, now in counts().items()} == {
        name: sum(bool(bits & bit) for bits in found.values()) for name, bit in SOURCES.items()
    }
    assert counts()["fresh"] - before["fresh"] > counts()["trending"] - before["trending"] > 0


def with_quota(name: str, quota: int) -> RetrieveSettings:
    quotas: dict[str, Any] = {name: quota}
    return replace(RetrieveSettings(), **quotas)


def test_blocked_items_are_never_candidates() -> None:
    signals, _ = small_world()
    blocked = np.array([signals.catalogue.slot_of(item) for item in ("seen", "😀", 2**63 - 1)], dtype=np.int32)
    assert set(asked(RetrieveSettings(), blocked)) == {-(2**63), 0, "0", "fresh"}


@pytest.mark.parametrize(("name", "bit"), [(name, bit) for name, bit in SOURCES.items() if bit < TOWER])
def test_a_source_is_left_out_by_name_or_by_a_quota_of_none(name: str, bit: int) -> None:
    for retrieve in (RetrieveSettings(without=(name,)), with_quota(name, 0)):
        assert not any(bits & bit for bits in asked(retrieve).values())
    others = tuple(other for other in SOURCES if other != name)
    alone = asked(RetrieveSettings(without=others))
    assert alone
    assert set(alone.values()) == {bit}


def test_quotas_and_limit_bound_what_is_found() -> None:
    only_fresh = RetrieveSettings(fresh=2, without=tuple(one for one in SOURCES if one != "fresh"))
    assert list(asked(only_fresh)) == ["fresh", -(2**63)], "one that was shown least, one whose turn it is"
    assert len(asked(RetrieveSettings(limit=3))) == 3
    assert not asked(RetrieveSettings(limit=0))


def test_the_most_personal_source_gives_the_name() -> None:
    assert source_name(TRENDING | COVISIT | TOWER) == "covisits"
    assert source_name(INTERESTS | TOWER) == "interests"
    assert [source_name(bit) for bit in SOURCES.values()] == list(SOURCES)
    assert source_name(0) == "none"
    bits = list(SOURCES.values())
    assert sum(bits) == 2 ** len(bits) - 1


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="trendy"):
        Retriever(RetrieveSettings(without=("trendy",)))
    for name in ("trending", "covisits", "context", "fresh", "tower", "interests", "limit"):
        with pytest.raises(ValueError, match="must not be negative"):
            Retriever(with_quota(name, -1))
