"""Sampled negatives: who may be drawn, how often, and that the rates say exactly that."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from stream_reco.signals.candidates import NO_TURN, Asked, Gatherer, ProposalLists
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.train.negative_sampler import _POOL, _QUOTAS, NegativeSampler
from stream_reco.train.settings import TrainSettings

NOW = 1_600_000_000_000
NONE = np.empty(0, dtype=np.int32)
NOBODY = np.full(RECENT, -1, dtype=np.int32)
TIMES = np.zeros(RECENT, dtype=np.int64)
Sample = tuple[NDArray[np.int32], NDArray[np.float32]]


def world(counts: list[int]) -> Signals:
    """Items that were acted on so many times, all at the same moment."""
    signals = Signals(SignalSettings(trending_width=4))
    context = signals.coder.encode(None, NOW)
    for item, count in enumerate(counts):
        slot = signals.admit(item)
        for _ in range(count):
            signals.act(slot, NOBODY, TIMES, context, NOW)
    signals.refresh(NOW, force=True)
    return signals


def sampled(
    signals: Signals,
    sampler: NegativeSampler,
    rng: np.random.Generator,
    positive: int = 0,
    seen: NDArray[np.int32] = NONE,
) -> Sample:
    return sampler.sample(signals, positive, NOBODY, seen, signals.coder.encode(None, NOW), rng)


def sampler(hard: int, popular: int, uniform: int = 0) -> NegativeSampler:
    return NegativeSampler(TrainSettings(hard_negatives=hard, popular_negatives=popular, uniform_negatives=uniform))


def test_popular_negatives_come_by_the_root_of_popularity() -> None:
    counts = [1, 4, 9, 16, 25, 100]
    signals, rng, one = world(counts), np.random.default_rng(1), sampler(0, 1)
    drawn = np.zeros(len(counts))
    for _ in range(8_000):
        slots, _ = sampled(signals, one, rng)
        drawn[slots[1:]] += 1
    # The positive, slot 0, is drawn like others but left out.
    roots = np.sqrt(counts)
    missed = 8_000 - drawn.sum()
    expected = 8_000 * roots / roots.sum()
    assert drawn[0] == 0
    assert chisquare(np.append(drawn[1:], missed), np.append(expected[1:], expected[0])).pvalue > 1e-3


@pytest.mark.parametrize("uniform", [0, 2])
def test_rates_are_the_chances_of_being_a_negative(uniform: int) -> None:
    """This is what makes the correction right: each item's rate is how often the sample includes it."""
    counts = [40, 30, 20, 10, 5, 3, 2, 1, 0 if uniform else 1, 60]
    signals, rng, one = world(counts), np.random.default_rng(2), sampler(3, 4, uniform)
    draws, included, rates = 8_000, np.zeros(10), np.full(10, np.nan)
    for _ in range(draws):
        slots, rate = sampled(signals, one, rng, positive=4, seen=np.array([9], dtype=np.int32))
        included[slots[1:]] += 1
        known = rates[slots]
        assert np.array_equal(rate[~np.isnan(known)], known[~np.isnan(known)]), "an item's rate must not vary"
        rates[slots] = rate
    assert included[4] == 0
    assert included[9] == 0
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    deviation = np.sqrt(rates * (1 - rates) / draws)
    assert np.all(np.abs(included / draws - rates)[others] < 4.5 * deviation[others] + 1e-9)
    # The positive's own rate is that of a negative: what other requests see of it.
    for _ in range(draws):
        slots, _ = sampled(signals, one, rng, positive=0, seen=np.array([9], dtype=np.int32))
        included[4] += 4 in slots
    assert included[4] / draws == pytest.approx(rates[4], abs=4.5 * deviation[4])


def test_hard_negatives_are_what_the_signals_propose() -> None:
    """The reference is what proposes candidates for a slate, its sources and turns left out."""
    rng = np.random.default_rng(5)
    signals = Signals(SignalSettings(trending_width=30))
    for at in range(2_000):
        kind = {"device": str(rng.integers(4)), "hour": str(rng.integers(6))}
        context = signals.take_context(kind, NOW + at)
        recent = NOBODY.copy()
        recent[: rng.integers(8)] = rng.integers(max(1, signals.catalogue.size), size=1)
        signals.act(signals.admit(int(rng.zipf(1.3) % 300)), recent, TIMES + NOW, context, NOW + at)
    signals.describe(3, Statement(NOW, {}, False))
    signals.refresh(NOW + 2_000, force=True)
    every = sampler(_POOL, 0)
    for turn in range(30):
        recent, size = NOBODY.copy(), signals.catalogue.size
        recent[:5] = rng.choice(size, 5, replace=False)
        seen = np.concatenate([recent[:5], rng.choice(size, 20, replace=False).astype(np.int32)])
        context = signals.coder.encode({"device": str(turn % 4), "hour": "5"}, NOW)
        counts = signals.counts
        lists = ProposalLists(
            signals.trends, counts.pairs, counts.popular, counts.together, signals.catalogue.available
        )
        asked = Asked(recent, context.values, seen, NONE, NONE, NO_TURN)
        expected, _ = Gatherer(_POOL, (*_QUOTAS, 0))(lists, asked)
        positive = int(seen[0])
        slots, _ = every.sample(signals, positive, recent, seen, context, rng)
        assert len(expected) > 50
        assert sorted(slots[1:].tolist()) == sorted(expected.tolist())


def test_what_nobody_has_acted_on_is_a_negative_as_often_as_anything() -> None:
    signals, rng, one = world([50, 0, 0, 20, 0, 0]), np.random.default_rng(1), sampler(0, 0, 1)
    signals.describe(5, Statement(NOW, {}, False))
    signals.refresh(NOW, force=True)
    drawn = np.zeros(6)
    for _ in range(6_000):
        slots, rates = sampled(signals, one, rng)
        drawn[slots[1:]] += 1
        assert rates.tolist() == pytest.approx([1 / 6] * len(slots))
    assert drawn[[0, 5]].tolist() == [0.0, 0.0], "neither the positive nor what is not available"
    assert chisquare([*drawn[1:5], 6_000 - drawn.sum()], [1_000.0] * 4 + [2_000.0]).pvalue > 1e-3


def test_neither_the_positive_nor_what_was_seen_is_a_negative() -> None:
    rng = np.random.default_rng(3)
    signals = world(rng.integers(1, 20, 30).tolist())
    one = sampler(20, 30, 10)
    for _ in range(300):
        positive = int(rng.integers(30))
        seen = rng.choice(30, size=int(rng.integers(0, 30)), replace=False).astype(np.int32)
        slots, rates = sampled(signals, one, rng, positive, seen)
        assert slots[0] == positive
        assert len(set(slots.tolist())) == len(slots)
        assert not set(slots[1:].tolist()) & {positive, *seen.tolist()}
        assert np.all((rates > 0) & (rates <= 1))
        assert len(slots) <= 1 + 20 + 30 + 10


def test_slots_that_are_not_there_yet_may_have_been_seen() -> None:
    signals = world([1, 1])
    slots, _ = sampled(signals, sampler(4, 4), np.random.default_rng(0), seen=np.array([5_000_000], dtype=np.int32))
    assert set(slots.tolist()) <= {0, 1}


def test_unavailable_items_are_no_negatives() -> None:
    signals = world([5, 5, 5, 5])
    signals.describe(2, Statement(NOW, {}, False))
    signals.refresh(NOW, force=True)
    rng = np.random.default_rng(4)
    drawn = {int(slot) for _ in range(200) for slot in sampled(signals, sampler(4, 4), rng)[0]}
    assert drawn == {0, 1, 3}


def test_without_any_signal_the_positive_stands_alone() -> None:
    signals = Signals(SignalSettings())
    slot = signals.admit("first")
    slots, rates = sampled(signals, sampler(32, 16), np.random.default_rng(0), positive=slot)
    assert slots.tolist() == [slot]
    assert rates.tolist() == [pytest.approx(1e-4)]


def test_an_item_no_sample_would_hold_has_the_least_rate() -> None:
    signals = world([3, 2, 1])
    new = signals.admit("new")
    slots, rates = sampled(signals, sampler(1, 1), np.random.default_rng(0), positive=new)
    assert slots[0] == new
    assert rates[0] == pytest.approx(1e-4)


def test_the_same_random_numbers_draw_the_same() -> None:
    signals = world(list(range(1, 40)))
    first = [sampled(signals, sampler(8, 8), np.random.default_rng(7)) for _ in range(2)]
    # What was drawn before leaves no trace in the sampler's work space.
    used = sampler(8, 8)
    for positive in range(20):
        sampled(signals, used, np.random.default_rng(positive), positive, np.arange(positive, dtype=np.int32))
    for slots, rates in (*first, sampled(signals, used, np.random.default_rng(7))):
        assert slots.tolist() == first[0][0].tolist()
        assert rates.tolist() == first[0][1].tolist()
