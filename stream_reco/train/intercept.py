"""The log-odds that all impressions share, learned at once.

Gradient steps take some thousand impressions to bring an untrained model from the prior that it begins with to the
click rate of a shop, and until then everything that is served is too low or too high. One number needs no more than a
few clicks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_MEMORY = 100.0
"""About as many of the newest clicks say what the intercept is; it moves by a tenth, one standard error, at most."""
_FIRST_INFORMATION = 1.0
"""Information that the prior counts for: as much as of one click."""
_LARGEST_STEP = 1.0
"""Log-odds of one step: a quadratic approximation of the loss says little further away."""


class Intercept:
    """A bias for the log-odds of whatever has an impression, by online Newton steps on the logistic loss.

    The gain is that of a mean at first, 1 / Σ p (1 − p), and of a decayed one from `_MEMORY` on. The model learns what
    is left, with the intercept as a constant. Actions without an impression do not have it: their negatives are drawn.
    """

    def __init__(self) -> None:
        self.log_odds = 0.0
        self.averaged = self.log_odds
        """The mean over the last steps, to publish with weights that are averaged likewise."""
        self.information = 0.0
        """Σ p (1 − p), decayed; 0 before the first impression, infinite where it stays as it is."""

    @property
    def value(self) -> float:
        """What the learning model adds to log-odds; 0 before the first impression."""
        return self.log_odds if self.information else 0.0

    @property
    def published(self) -> float:
        """What the averaged model adds."""
        return self.averaged if self.information else 0.0

    def average(self, share: float) -> None:
        """Let the present value have a share of the mean."""
        self.averaged += share * (self.log_odds - self.averaged)

    def begin(self) -> None:
        """There is an impression to learn from."""
        self.information = self.information or _FIRST_INFORMATION

    def learn(self, chances: NDArray[np.float64], positive: NDArray[np.float64], mass: NDArray[np.float64]) -> None:
        """Take a step on float64[n] predicted probabilities, weights of positives, and weights over both labels.

        Weights of labels that are taken back count negatively.
        """
        if math.isinf(self.information):
            return
        gradient = float((positive - mass * chances).sum())
        grown = self.information + float((np.abs(mass) * chances * (1.0 - chances)).sum())
        self.information = min(grown, _MEMORY)
        step = gradient / self.information
        if math.isfinite(step):
            self.log_odds += min(max(step, -_LARGEST_STEP), _LARGEST_STEP)

    def state(self) -> NDArray[np.float64]:
        """For a checkpoint: float64[3]."""
        return np.array([self.log_odds, self.averaged, self.information])

    def restore(self, state: NDArray[np.float64] | None) -> None:
        """The inverse of `state`; None: of a release without, whose model goes on to learn the intercept itself."""
        self.log_odds, self.averaged, self.information = (0.0, 0.0, math.inf) if state is None else state.tolist()
