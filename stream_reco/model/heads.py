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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stream_reco.model.inputs import Batch
from stream_reco.model.rows import Rows
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
from stream_reco.model.weights import load_weights, weights_of
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
    "bottom_of",
    "log_odds_of",
    "without_heads",
]


class Towers(nn.Module):
    """A tower for each head on the bottom that all share: one hidden layer, which begins without a voice."""

    def __init__(self, bottom_dim: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(bottom_dim, HEADS * TOWER)
        self.out = nn.Parameter(torch.zeros(HEADS, TOWER))

    def forward(self, bottom: Tensor, used: Tensor) -> Tensor:
        """float32[n, u] of the heads `used` int64[u], from float32[n, bottom_dim]."""
        weight = self.narrow.weight.view(HEADS, TOWER, -1)[used].flatten(end_dim=1)
        bias = self.narrow.bias.view(HEADS, TOWER)[used].flatten()
        hidden = torch.relu(functional.linear(bottom, weight, bias)).view(len(bottom), len(used), TOWER)
        result: Tensor = (hidden * self.out[used]).sum(dim=2)
        return result


class Heads(KindHeads):
    """The heads of one version of a model: names, weights and scales. Its towers read `bottom_of` that model."""

    def __init__(self, bottom_dim: int) -> None:
        super().__init__()
        self.towers = Towers(bottom_dim)
        self._first = weights_of(self.towers)

    def clear(self) -> None:
        """Nothing is known of any kind."""
        self._forget()
        load_weights(self.towers, self._first)

    def log_odds(self, bottom: Tensor, rows: Tensor) -> Tensor:
        """float32[n, u] of the heads `used`, from float32[n, bottom_dim] and the items' rows float32[n, HEADS]."""
        used = self.used
        at, intercepts = torch.from_numpy(used), torch.from_numpy(self.intercepts[used].astype(np.float32))
        odds: Tensor = self.towers(bottom, at) + rows[:, at] + intercepts
        return odds.clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)

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
                **{f"{PREFIX}towers.{name}": value for name, value in weights_of(self.towers).items()},
            }
        return parts

    def load(self, parts: Parts) -> None:
        """The inverse of `parts`. Raises ValueError where the towers are of another size."""
        load_weights(self.towers, towers_among(parts) or self._first)
        self._take(parts)


def bottom_dim_of(model: Model) -> int:
    """The length of what `bottom_of` gives."""
    return model.bottom_dim if isinstance(model, HasBottom) else 1


def bottom_of(model: Model, batch: Batch, rows: Rows) -> Tensor:
    """float32[n, bottom_dim]: what all heads share of each candidate; a model without a bottom gives its log-odds."""
    if isinstance(model, HasBottom):
        return model.bottom(batch, rows)
    return model.score(batch, rows).unsqueeze(1)


def log_odds_of(probability: float) -> float:
    """The log-odds of a probability in (0, 1)."""
    return math.log(probability / (1.0 - probability))
