"""What logged slates tell of another policy: intervals from their propensities cover its true value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.measure import Estimate, slate_ips, slate_snips
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.exploration import Evidence
from stream_reco.serve.slate.places import PlaceDistribution, Split
from stream_reco.serve.slate.reranker import Reranker
from stream_reco.signals.catalogue import Catalogue

WORLDS, SLATES, ITEMS, K, KINDS = 100, 400, 14, 5, 3
COVERED = 88
"""Intervals of level 0.95 of which at least so many of 100 cover the truth, but for one time in 300."""
Floats = NDArray[np.float64]


class World:
    """Three kinds of people with tastes of their own, of which the scores of the logging policy know a part."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng, self.seed = rng, seed
        tastes = rng.normal(-1.5, 1.0, size=(KINDS, ITEMS))
        self.clicks = 1.0 / (1.0 + np.exp(-tastes))
        self.looked = 1.0 / np.sqrt(np.arange(1, K + 1))
        self.scores = (1.0 / (1.0 + np.exp(-tastes + rng.normal(size=tastes.shape)))).astype(np.float32)
        self.shown = rng.integers(0, 60, ITEMS)
        self.targets = [target_policy(scores).matrix(ITEMS) for scores in self.scores]

    @property
    def truth(self) -> float:
        """Expected clicks on a slate of the target policy."""
        values = [self.looked @ target @ clicks for target, clicks in zip(self.targets, self.clicks, strict=True)]
        return float(np.mean(values))

    def log(self) -> tuple[Floats, Floats, Floats]:
        """Clicks, propensities and target probabilities, float64[SLATES, K]: slates as the scorer makes them."""
        rerank = Reranker(SlateSettings(explore=0.24), self.seed)
        catalogue, index = Catalogue(), VectorIndex(1)
        kinds = self.rng.integers(KINDS, size=SLATES)
        rewards, propensities, targets = (np.zeros((SLATES, K)) for _ in range(3))
        for row, kind in enumerate(kinds.tolist()):
            slots = np.arange(ITEMS, dtype=np.int32)
            slate = rerank(slots, self.scores[kind], K, index, catalogue, evidence=Evidence(self.shown, 3))
            for place, one in enumerate(slate):
                rewards[row, place] = self.rng.random() < self.looked[place] * self.clicks[kind, one.place]
                propensities[row, place] = one.propensity
                targets[row, place] = self.targets[kind][place, one.place]
        return rewards, propensities, targets


def target_policy(scores: NDArray[np.float32]) -> PlaceDistribution:
    """Two places of a slate for any of the other items alike."""
    ranked = np.argsort(-scores, kind="stable")
    others = np.sort(ranked[K:])
    return PlaceDistribution(others, [Split(1.0, ranked[: K - 2].tolist(), 2, np.full(len(others), 2 / len(others)))])


def covers(estimate: Estimate, truth: float) -> bool:
    low, high = estimate.interval()
    return low <= truth <= high


def test_intervals_from_logged_slates_cover_the_value_of_another_policy_in_95_of_100_worlds() -> None:
    covered = {"ips": 0, "snips": 0, "unweighted": 0}
    misses = []
    for seed in range(WORLDS):
        world = World(seed)
        rewards, propensities, targets = world.log()
        truth = world.truth
        weighted = slate_ips(rewards, propensities, targets)
        covered["ips"] += covers(weighted, truth)
        covered["snips"] += covers(slate_snips(rewards, propensities, targets), truth)
        covered["unweighted"] += covers(slate_ips(rewards, np.ones_like(targets), np.ones_like(targets)), truth)
        misses.append((weighted.value - truth) / weighted.standard_error)
    assert covered["ips"] >= COVERED
    assert covered["snips"] >= COVERED
    assert covered["unweighted"] < COVERED, "the two policies differ too little for the test to tell"
    assert abs(float(np.mean(misses))) < 0.35, "three and a half standard errors of a mean of a hundred"
