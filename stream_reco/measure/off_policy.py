"""What another policy would have earned, estimated from the log of one whose propensities are known.

For each logged choice: reward r, propensity p = π₀(a|x) with which the logging policy chose it, and target probability
t = π(a|x) with which the policy under question would have. Both policies must be able to choose whatever either can:
where t > 0 but p is 0 nothing can be known, and every estimator here is silently blind to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Mean reward under the target policy with its standard error; few effective samples mean it rests on few rows.

    `effective_samples` is Kish's (Σw)² / Σw² of the importance weights w = t / p, from 0 to `count`.
    """

    value: float
    standard_error: float
    count: int
    effective_samples: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Bounds that cover the truth with probability `level`, by the normal approximation."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"an interval of level {level}: give more than 0 and less than 1")
        reach = NormalDist().inv_cdf((1.0 + level) / 2.0) * self.standard_error
        return self.value - reach, self.value + reach


def ips(rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None = None) -> Estimate:
    """Inverse propensity scoring, mean of w·r (Horvitz and Thompson 1952): unbiased, of high variance.

    float[n] each. `clip` caps the weights, which trades variance for bias. Raises `ValueError` for what is no
    probability.
    """
    reward, weight = _weighted(rewards, propensities, targets, clip)
    return _estimate(weight * reward, weight)


def snips(rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None = None) -> Estimate:
    """Self-normalised IPS, Σ w·r / Σ w (Swaminathan and Joachims 2015): a bounded estimate with a small bias.

    Arguments as for `ips`. The standard error is that of a ratio, by the delta method.
    """
    reward, weight = _weighted(rewards, propensities, targets, clip)
    if weight.sum() <= 0.0:
        raise ValueError(
            "the target policy would have chosen nothing that was logged: there is nothing to estimate from"
        )
    value = float(weight @ reward / weight.sum())
    residuals = weight / weight.mean() * (reward - value)
    spread = _estimate(residuals, weight)
    return Estimate(value, spread.standard_error, spread.count, spread.effective_samples)


def doubly_robust(
    rewards: ArrayLike,
    propensities: ArrayLike,
    targets: ArrayLike,
    predicted: ArrayLike,
    predicted_target: ArrayLike,
    clip: float | None = None,
) -> Estimate:
    """Model plus correction, mean of q_π + w·(r − q) (Dudík, Langford and Li 2011): right if model or propensities are.

    Besides the arguments of `ips`: float[n] `predicted` q(x, a), the model's reward of the logged choice, and
    `predicted_target` q_π(x) = Σ_a π(a|x)·q(x, a), its mean reward under the target policy.
    """
    reward, weight = _weighted(rewards, propensities, targets, clip)
    model = _vector(predicted, "predicted", len(reward))
    model_target = _vector(predicted_target, "predicted_target", len(reward))
    return _estimate(model_target + weight * (reward - model), weight)


def slate_ips(rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None = None) -> Estimate:
    """Mean reward of a slate: at each place w·r of the item that stood there, summed over the places.

    float[n, K] each, of n slates with K places: the reward of each place, the probability with which it had its item,
    and that with which it would have had it under the target policy. A place that a slate does not have has reward 0,
    propensity 1 and target 0. Unbiased where what a place earns depends on its item, its position and the request, not
    on the other items (the item-position model; Li et al. 2018, Offline Evaluation of Ranking Policies with Click
    Models). The slates are independent, the places of one are not: the standard error is over slates. Raises ValueError
    as `ips` does.
    """
    reward, weight = _weighted_places(rewards, propensities, targets, clip)
    return _estimate((weight * reward).sum(axis=1), weight.mean(axis=1))


def slate_snips(rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None = None) -> Estimate:
    """`slate_ips` with the weights of each place normalised by their mean: a bounded estimate with a small bias.

    Arguments as for `slate_ips`. The standard error is by the delta method.
    """
    reward, weight = _weighted_places(rewards, propensities, targets, clip)
    totals = weight.sum(axis=0)
    if not (totals > 0.0).all():
        place = int(np.flatnonzero(totals <= 0.0)[0]) + 1
        raise ValueError(
            f"the target policy would have chosen nothing that was logged at place {place}: leave such places out"
        )
    values = (weight * reward).sum(axis=0) / totals
    residuals = (weight / weight.mean(axis=0) * (reward - values)).sum(axis=1)
    spread = _estimate(residuals, weight.mean(axis=1))
    return Estimate(float(values.sum()), spread.standard_error, spread.count, spread.effective_samples)


def _weighted_places(
    rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None
) -> tuple[Floats, Floats]:
    reward, logged, target = (np.asarray(values, dtype=np.float64) for values in (rewards, propensities, targets))
    if reward.ndim != 2 or not reward.size or logged.shape != reward.shape or target.shape != reward.shape:
        raise ValueError(
            f"rewards {reward.shape}, propensities {logged.shape}, targets {target.shape}: each slates × places"
        )
    flat, weight = _weighted(reward.ravel(), logged.ravel(), target.ravel(), clip)
    return flat.reshape(reward.shape), weight.reshape(reward.shape)


def _weighted(
    rewards: ArrayLike, propensities: ArrayLike, targets: ArrayLike, clip: float | None
) -> tuple[Floats, Floats]:
    reward = np.atleast_1d(np.asarray(rewards, dtype=np.float64))
    logged = _vector(propensities, "propensities", len(reward))
    target = _vector(targets, "targets", len(reward))
    if not len(reward) or not np.isfinite(reward).all():
        raise ValueError(f"{len(reward)} rewards: give at least one, all finite")
    if not ((logged > 0.0) & (logged <= 1.0)).all():
        raise ValueError(
            f"a propensity of {logged[~((logged > 0) & (logged <= 1))][0]}: what was chosen had one in (0, 1]"
        )
    if not ((target >= 0.0) & (target <= 1.0)).all():
        raise ValueError(f"a target probability of {target[~((target >= 0) & (target <= 1))][0]}: give 0 to 1")
    if clip is not None and not clip > 0.0:
        raise ValueError(f"weights clipped at {clip}: give a positive cap, or None")
    weight = target / logged
    return reward, weight if clip is None else np.minimum(weight, clip)


def _vector(values: ArrayLike, name: str, length: int) -> Floats:
    vector = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} of shape {vector.shape}: give {length} finite numbers, one a reward")
    return vector


def _estimate(terms: Floats, weight: Floats) -> Estimate:
    squares = float(weight @ weight)
    return Estimate(
        value=float(terms.mean()),
        standard_error=float(terms.std(ddof=1) / np.sqrt(len(terms))) if len(terms) > 1 else float("inf"),
        count=len(terms),
        effective_samples=float(weight.sum()) ** 2 / squares if squares > 0.0 else 0.0,
    )
