"""How good the scores of several arms are on the same events, by how much evidence there was, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id

BOUNDS = (0, 1, 3, 10, 30, 100)
"""Where buckets of evidence begin."""
BUCKETS = ("0", "1–2", "3–9", "10–29", "30–99", "100 and more")
ALL = "all"
DIFFERENCES = {"loss": "loss_differences", "auc": "auc_differences", "within": "within_differences"}
"""Measures, and what the differences by them are called in reports."""
MEASURES = tuple(DIFFERENCES)
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class ScoreQuality:
    """What the scores of n candidates are worth: sums to be added, then divided."""

    losses: NDArray[np.float64]
    """float64[n]: log loss, nats."""
    ordered: NDArray[np.float64]
    """float64[2, n]: weight of the pairs with the others that are in the right order; with all, and with those only
    of which there is as much evidence."""
    pairs: NDArray[np.float64]
    """float64[2, n]: weight of all such pairs; the same for all arms."""


def quality_by_chances(
    scores: NDArray[np.floating], chances: NDArray[np.float64], evidence: NDArray[np.int64]
) -> ScoreQuality:
    """The quality of `scores` [n] where the true chances float64[n] are known, with so much `evidence` int64[n].

    The loss is what is expected of it, above that of the true chance itself. A pair weighs as much as its chances
    differ; of equal scores half is in the right order.
    """
    p, q = chances, np.clip(scores.astype(np.float64), _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    losses = p * np.log(p / q) + (1.0 - p) * np.log((1.0 - p) / (1.0 - q))
    differences = p[:, None] - p[None, :]
    signs = np.sign(scores[:, None].astype(np.float64) - scores[None, :])
    buckets = buckets_of(evidence)
    all_pairs = np.abs(differences)
    weights = np.stack([all_pairs, all_pairs * (buckets[:, None] == buckets[None, :])])
    ordered = weights * (1.0 + signs * np.sign(differences)) / 2.0
    return ScoreQuality(losses, ordered.sum(axis=2), weights.sum(axis=2))


def quality_of_choice(scores: NDArray[np.floating], target: int, evidence: NDArray[np.int64]) -> ScoreQuality:
    """The quality of `scores` [n] for the candidate at the place `target` that was chosen, one row.

    The loss is −log of its share of all candidates' odds.
    """
    buckets = buckets_of(evidence)
    alike = buckets == buckets[target]
    below = np.where(scores < scores[target], 1.0, np.where(scores == scores[target], 0.5, 0.0))
    below[target] = 0.0
    ordered = np.array([[below.sum()], [below[alike].sum()]])
    pairs = np.array([[len(scores) - 1.0], [alike.sum() - 1.0]])
    return ScoreQuality(-np.log(choice_shares(scores)[[target]]), ordered, pairs)


def choice_shares(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64[n]: the chance of each candidate to be the chosen one, by its odds."""
    p = np.clip(scores.astype(np.float64), _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    odds = p / (1.0 - p)
    shares: NDArray[np.float64] = odds / odds.sum()
    return shares


def buckets_of(evidence: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: the number of the bucket of each."""
    return np.searchsorted(BOUNDS, evidence, side="right") - 1


class PairedTally:
    """Sums by side ("item", "user", "all"), bucket and whoever the evidence is of, for each of `arms`."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._arms = tuple(arms)
        self._sums: dict[tuple[str, str], dict[Id, NDArray[np.float64]]] = {}
        self._levels = np.zeros((1 + len(self._arms), len(BUCKETS)))

    def add(
        self, side: str, owners: Sequence[Id], evidence: NDArray[np.int64] | None, found: Sequence[ScoreQuality]
    ) -> None:
        """Count candidates: whose evidence it is and how much, int64[n], and what each arm's scores are worth.

        Without `evidence` they are in the one bucket `ALL`.
        """
        rows = np.concatenate(
            [np.ones((1, len(owners))), found[0].pairs, *(np.vstack([one.losses, one.ordered]) for one in found)]
        )
        names = [ALL] * len(owners) if evidence is None else [BUCKETS[one] for one in buckets_of(evidence).tolist()]
        for place, (owner, bucket) in enumerate(zip(owners, names, strict=True)):
            sums = self._sums.setdefault((side, bucket), {})
            sums[owner] = sums.get(owner, 0.0) + rows[:, place]

    def add_levels(
        self, evidence: NDArray[np.int64], truth: NDArray[np.float64], said: Sequence[NDArray[np.floating]]
    ) -> None:
        """Count candidates with so much evidence, int64[n]: what is true, and what each arm says, as probabilities."""
        buckets = buckets_of(evidence)
        for row, values in enumerate((truth, *said)):
            self._levels[row] += np.bincount(buckets, values, len(BUCKETS))

    def as_dict(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Side → bucket → how many candidates, of how many owners, and of each measure the arms' means and differences.

        A difference is that of the first arm to another one, with the variance of its mean by owners. Of items, `level`
        is what each arm said in all over what was true in all.
        """
        figures: dict[str, dict[str, dict[str, Any]]] = {}
        for side, bucket in sorted(self._sums, key=lambda key: (key[0], (ALL, *BUCKETS).index(key[1]))):
            table = np.stack(list(self._sums[side, bucket].values()))
            entry: dict[str, Any] = {"evaluated": int(table[:, 0].sum()), "owners": len(table)}
            for place, name in enumerate(MEASURES):
                base, values = table[:, place], table[:, len(MEASURES) + place :: len(MEASURES)]
                if not base.sum() > 0.0:
                    continue
                entry[name] = dict(zip(self._arms, (values.sum(axis=0) / base.sum()).tolist(), strict=True))
                entry[DIFFERENCES[name]] = {
                    arm: ratio_with_variance(values[:, 0] - values[:, other], base)
                    for other, arm in enumerate(self._arms)
                    if other
                }
            if side == "item":
                truth, *said = self._levels[:, BUCKETS.index(bucket)].tolist()
                entry["level"] = {arm: one / truth for arm, one in zip(self._arms, said, strict=True) if truth > 0.0}
            figures.setdefault(side, {})[bucket] = entry
        return figures


def ratio_with_variance(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> tuple[float, float | None]:
    """Σ parts over Σ wholes of independent owners, float64[m] each, and its variance; None of one owner alone."""
    ratio = float(parts.sum() / wholes.sum())
    if len(parts) < 2:
        return ratio, None
    rest = parts - ratio * wholes
    return ratio, float((rest**2).sum() / wholes.sum() ** 2 * len(parts) / (len(parts) - 1))
