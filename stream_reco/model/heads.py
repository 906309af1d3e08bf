"""Heads: what kind an action is, and what it is worth, given that there is one.

The model says P(acted | shown). A head for each kind says P(kind | acted), so that P(kind | shown) is their product,
and is learned from what was acted on alone (the decomposition of ESMM; Ma et al., "Entire Space Multi-Task Model",
SIGIR 2018, §2.2). A value head says the expected value of a kind's actions by weighted logistic regression: the odds of
positives that weigh their value are the expected value (Covington, Adams and Sargin, "Deep Neural Networks for YouTube
Recommendations", RecSys 2016, §4.2). There odds are ΣT / (N − k), close to ΣT / N where positives are few. Here
whatever was acted on is a negative once, also where a value came, so that they are ΣT / N however many positives there
are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.random_weights import RandomWeights
from stream_reco.model.served_heads import (
    HEADS,
    HEADS_TABLE,
    LARGEST_LOG_ODDS,
    MOST_KINDS,
    PREFIX,
    TOWER,
    VALUE,
    KindHeads,
    KindPredictions,
    towers_among,
    without_heads,
)
from stream_reco.model.spec import HasBottom, Model
from stream_reco.signals.growing import Parts

__all__ = [
    "HEADS",
    "HEADS_TABLE",
    "MOST_KINDS",
    "VALUE",
    "Heads",
    "KindPredictions",
    "Towers",
    "bottom_dim_of",
    "log_odds_of",
    "without_heads",
]

Floats: TypeAlias = NDArray[np.float32]
_ZERO, _MOST = np.float32(0.0), np.float32(LARGEST_LOG_ODDS)


class Towers:
    """A tower for each head on the bottom that all share: one hidden layer, which begins without a voice."""

    def __init__(self, bottom_dim: int, seed: int) -> None:
        inputs, random = (HEADS * TOWER, bottom_dim), RandomWeights(seed)
        self.weights = DenseWeights({"out": (HEADS, TOWER), "narrow.weight": inputs, "narrow.bias": inputs[:1]}, {})
        for name in ("narrow.weight", "narrow.bias"):
            weight = self.weights.learned[name]
            np.copyto(weight, random.of_layer(weight.shape, bottom_dim))

    def forward(self, bottom: Floats, used: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """float32[n, u] of the heads `used` int64[u] from float32[n, bottom_dim], and their hidden layers [n, u, k]."""
        weights = self.weights.learned
        # Heads are next to each other, so that one product serves all.
        narrow = weights["narrow.weight"].reshape(HEADS, TOWER, -1)[used].reshape(len(used) * TOWER, -1)
        hidden = bottom @ narrow.T
        hidden += weights["narrow.bias"].reshape(HEADS, TOWER)[used].ravel()
        hidden = np.maximum(hidden, _ZERO, out=hidden).reshape(len(bottom), len(used), TOWER)
        return (hidden * weights["out"][used]).sum(axis=2), hidden

    def learn(
        self, bottom: Floats, used: NDArray[np.int64], hidden: Floats, slopes: Floats, gradients: Mapping[str, Floats]
    ) -> None:
        """Overwrite gradients of the weights, by name: back from `slopes` float32[n, u] of what `forward` gave."""
        count = len(used) * TOWER
        below = np.where(hidden > 0.0, slopes[:, :, None] * self.weights.learned["out"][used], _ZERO)
        flat = below.reshape(len(bottom), count)
        for value in gradients.values():
            value[:] = 0.0
        gradients["out"][used] = (slopes[:, :, None] * hidden).sum(axis=0)
        gradients["narrow.weight"].reshape(HEADS, TOWER, -1)[used] = (flat.T @ bottom).reshape(len(used), TOWER, -1)
        gradients["narrow.bias"].reshape(HEADS, TOWER)[used] = flat.sum(axis=0).reshape(len(used), TOWER)


class Odds(NamedTuple):
    """Log-odds of heads, and what leads back from them."""

    values: Floats
    """float32[n, u]"""
    hidden: Floats
    """float32[n, u, TOWER]"""
    inside: NDArray[np.bool_]
    """bool[n, u]: those that were not cut off."""


class Heads(KindHeads):
    """The heads of one version of a model: names, weights and scales. Its towers read that model's bottom."""

    def __init__(self, bottom_dim: int, seed: int = 0) -> None:
        super().__init__()
        self.towers = Towers(bottom_dim, seed)
        self._first = self.towers.weights.state()

    def clear(self) -> None:
        """Nothing is known of any kind."""
        self._forget()
        self.towers.weights.load(self._first)

    def log_odds(self, bottom: Floats, rows: Floats) -> Floats:
        """float32[n, u] of the heads `used`, from float32[n, bottom_dim] and the items' rows float32[n, HEADS]."""
        return self.forward(bottom, rows).values

    def forward(self, bottom: Floats, rows: Floats) -> Odds:
        """The same, to be learned from."""
        said, hidden = self.towers.forward(bottom, self.used)
        odds = said + rows[:, self.used] + self.intercepts[self.used].astype(np.float32)
        return Odds(np.clip(odds, -_MOST, _MOST), hidden, np.abs(odds) <= _MOST)

    def learn(self, bottom: Floats, odds: Odds, slopes: Floats, gradients: Mapping[str, Floats]) -> Floats:
        """Back from the slopes float32[n, u] of log-odds: overwrites gradients of the towers, returns those of rows."""
        inner, used = np.where(odds.inside, slopes, _ZERO), self.used
        self.towers.learn(bottom, used, odds.hidden, inner, gradients)
        rows = np.zeros((len(bottom), HEADS), dtype=np.float32)
        rows[:, used] = inner
        return rows

    def parts(self) -> Parts:
        """As arrays, for a publication or a checkpoint; nothing before the first kind, and of a single one its name."""
        if not self.kinds:
            return {}
        kinds = np.frombuffer(json.dumps(self.kinds).encode(), dtype=np.uint8)
        parts: Parts = {f"{PREFIX}kinds": kinds}
        if self.active:
            parts |= {
                f"{PREFIX}valued": self.valued.astype(np.uint8),
                f"{PREFIX}intercepts": self.intercepts.copy(),
                f"{PREFIX}scales": self.scales.copy(),
                **{f"{PREFIX}towers.{name}": value for name, value in self.towers.weights.state().items()},
            }
        return parts

    def load(self, parts: Parts) -> None:
        """The inverse of `parts`. Raises ValueError where the towers are of another size."""
        self.towers.weights.load(towers_among(parts) or self._first)
        self._take(parts)


def bottom_dim_of(model: Model) -> int:
    """The length of what heads read of a candidate; of a model without a bottom its log-odds."""
    return model.bottom_dim if isinstance(model, HasBottom) else 1


def log_odds_of(probability: float) -> float:
    """The log-odds of a probability in (0, 1)."""
    return math.log(probability / (1.0 - probability))
