"""What a presumed negative weighs in training, and what happens once it turns out to be a positive.

Under the policy `immediate` a negative is a guess, and every late positive comes twice: as a negative first. What is
learned from such a stream is too low by that, unless its losses are weighed ("fnw", "es-dfm") or the loss of the wrong
guess is taken back ("undo").
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_layers import sigmoid
from stream_reco.train.settings import Correction

Floats: TypeAlias = NDArray[np.floating[Any]]
_POSITIVES = 10_000
"""The share of late positives is a decayed one, over about this many of the newest positives."""
_LARGEST_CHANCE = 0.95
"""A model that says more weighs as if it said this. The weight of presumed negatives goes to 0 with 1 − f, and with it
all that could tell a model which takes everything for a click that it is wrong."""
_LEAST_REAL = 1e-6
"""What the probability of no action before the presumption is clamped to, as it divides."""
_ONE = np.float32(1.0)
TAUGHT_WITHIN_MS = 3_600_000
"""Under "auto" a late positive is trained on up to this age: that of the oldest negatives that are presumed."""
ComeBy = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From ages int64[n], ms, to the share of positives that come by each, float64[n]."""


class Feedback(IntEnum):
    """How the label of an example stands to a presumption."""

    CERTAIN = 0
    """Nothing is presumed of examples of its kind."""
    IN_TIME = 1
    """A positive that came before its impression was presumed negative."""
    PRESUMED = 2
    """A negative for want of an action so far."""
    LATE = 3
    """A positive whose impression was presumed negative."""


def fnw(chance: Floats) -> tuple[Floats, Floats]:
    """Weights of positives and of negatives, where every impression is a negative first; float32[n] each.

    `chance` float32[n] is the model's own probability f, a constant for the gradient. Of the stream's examples
    1 / (1 + f) are negatives and f / (1 + f) positives, so importance weights are 1 + f and (1 − f)(1 + f): "fake
    negative weighted" (Ktena et al., RecSys 2019, §3.3).
    """
    return 1.0 + chance, (1.0 - chance) * (1.0 + chance)


def es_dfm(chance: Floats, late_share: float) -> tuple[Floats, Floats]:
    """The same where impressions wait before they are presumed negative (ES-DFM; Yang et al., AAAI 2021, §4.2).

    Positives weigh 1 + p_dp, negatives (1 + p_dp) · p_rn: p_dp is the probability of a positive that comes after the
    wait, p_rn that of a real negative where none came before. The paper has a network for each; here the delay is taken
    as independent of everything else, so p_dp = f · r and p_rn = (1 − f) / (1 − f + f · r), where r is `late_share`,
    the share of positives that are late. With r = 1 it is `fnw`.
    """
    positive = 1.0 + chance * late_share
    return positive, positive * ((1.0 - chance) / _none_came(chance, 1.0 - late_share))


def taught_within(chance: Floats, come: Floats, taught: Floats) -> Floats:
    """The weight of presumed negatives, where positives weigh 1 and those that come too late are left out.

    `chance` as above; float32[n] each: `come` is the share of positives that have come by the presumption, `taught` the
    share that ever teaches, at least as large. Positives pull by q · taught · (1 − f), and the negatives, 1 − q · come,
    by f each, so at f = q this weight balances them. With both shares 1 it is 1; as f is a constant for the gradient,
    it is that of a Bernoulli variable f · come (Chapelle, KDD 2014, §3) where `taught` = `come`, but for a factor.
    """
    return taught * (1.0 - chance) / _none_came(chance, come)


def _none_came(chance: Floats, come: Floats | float) -> Floats:
    """The probability of no action by the presumption, a share `come` of the positives having come by then."""
    clamped: Floats = np.maximum(1.0 - chance * come, chance.dtype.type(_LEAST_REAL))
    return clamped


class LateShare:
    """The share of positives that come after the presumption, by weight, of the newest ones."""

    def __init__(self) -> None:
        # Before anything is known all positives are taken to be late, as `fnw` takes them.
        self.counts = np.array([0.0, 1.0])
        """float64[2]: decayed weight of positives in time and late."""

    def add(self, feedback: NDArray[np.int64], weights: NDArray[np.float32]) -> None:
        """Count the positives among int64[n] kinds of feedback with float32[n] weights."""
        if not feedback.any():  # all of it is certain, as logs of clicks are
            return
        in_time, late = (feedback == kind for kind in (Feedback.IN_TIME, Feedback.LATE))
        self.counts *= (1.0 - 1.0 / _POSITIVES) ** int(in_time.sum() + late.sum())
        self.counts += (weights[in_time].sum(), weights[late].sum())

    @property
    def value(self) -> float:
        """Between 0 and 1."""
        return float(self.counts[1] / self.counts.sum())


class Delays(NamedTuple):
    """What is known of how long labels take."""

    ages: NDArray[np.int64]
    """int64[g]: ms from impression to label."""
    come_by: ComeBy


def is_certain(correction: Correction, feedback: NDArray[np.int64]) -> bool:
    """Whether `corrected` leaves weights as they are: with "auto" where nothing is presumed, as in logs of clicks."""
    return correction == "auto" and feedback.max(initial=0) < Feedback.PRESUMED


def corrected(
    correction: Correction,
    feedback: NDArray[np.int64],
    weights: NDArray[np.float32],
    undone: NDArray[np.float32],
    log_odds: NDArray[np.float32],
    late_share: float,
    delays: Delays,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights of the examples' losses and of the opposite losses to take back, float32[g] each.

    `weights` and `undone`, float32[g], are as the labels have them, `feedback` int64[g] `Feedback`, `log_odds`
    float32[g] the model's for all impressions, before any correction for what was sampled. With "undo" the losses that
    a stream leaves behind sum to the loss with the final labels: ℓ(1) − ℓ(0) = −log-odds at a reversal. The weighted
    corrections undo what was not presumed, such as a retracted positive, all the same.
    """
    if correction == "none":
        return weights, np.zeros_like(undone)
    if correction == "undo":
        return weights, undone
    if is_certain(correction, feedback):
        return weights, undone
    chance = sigmoid(log_odds)
    chance = np.minimum(chance, chance.dtype.type(_LARGEST_CHANCE))
    late, presumed = feedback == Feedback.LATE, feedback == Feedback.PRESUMED
    if correction == "auto":
        factor = np.where(presumed, _of_presumed(chance, delays), _ONE)
        factor[late & (delays.ages > TAUGHT_WITHIN_MS)] = 0.0
    else:
        positive, negative = fnw(chance) if correction == "fnw" else es_dfm(chance, late_share)
        factor = np.where(presumed, negative, np.where((feedback == Feedback.IN_TIME) | late, positive, _ONE))
    return weights * factor, np.where(late, np.float32(0.0), undone)


def _of_presumed(chance: NDArray[np.float32], delays: Delays) -> Floats:
    ages = np.stack([delays.ages, np.maximum(delays.ages, TAUGHT_WITHIN_MS)])
    come, taught = delays.come_by(ages.ravel()).astype(chance.dtype).reshape(ages.shape)
    return taught_within(chance, come, taught)
