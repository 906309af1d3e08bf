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
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stream_reco.embedding import Adagrad
from stream_reco.model.fields import TableSpec
from stream_reco.model.inputs import Batch
from stream_reco.model.rows import Rows
from stream_reco.model.spec import HasBottom, Model
from stream_reco.model.weights import load_weights, weights_of
from stream_reco.signals.growing import Parts

MOST_KINDS = 8
"""Kinds of actions that have a head of their own, the first ones seen. A shop has some five; each costs a tower."""
HEADS = 2 * MOST_KINDS
"""Outputs: P(kind | acted) of each kind, then its expected value."""
VALUE = ".value"
"""Behind a kind's name it is the name of its value."""
HEADS_TABLE = TableSpec(
    # Unit gradients: the accumulator grows as the information does, so an item's n-th action moves it by 1 / √n.
    "heads",
    HEADS,
    Adagrad(lr=0.5, initial_accumulator_value=1.0),
    init_scale=0.0,
)
"""Each item's own log-odds. Rows appear once there is more to know of an action than that it came."""
_TOWER = 8
"""Width of a tower."""
_PREFIX = "heads."
_LARGEST_LOG_ODDS = 20.0
"""Larger ones are damage, and their exponential would spoil what they are summed up with."""


class Towers(nn.Module):
    """A tower for each head on the bottom that all share: one hidden layer, which begins without a voice."""

    def __init__(self, bottom_dim: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(bottom_dim, HEADS * _TOWER)
        self.out = nn.Parameter(torch.zeros(HEADS, _TOWER))

    def forward(self, bottom: Tensor, used: Tensor) -> Tensor:
        """float32[n, u] of the heads `used` int64[u], from float32[n, bottom_dim]."""
        weight = self.narrow.weight.view(HEADS, _TOWER, -1)[used].flatten(end_dim=1)
        bias = self.narrow.bias.view(HEADS, _TOWER)[used].flatten()
        hidden = torch.relu(functional.linear(bottom, weight, bias)).view(len(bottom), len(used), _TOWER)
        result: Tensor = (hidden * self.out[used]).sum(dim=2)
        return result


class KindPredictions(NamedTuple):
    """What is said of n candidates by kind."""

    kinds: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """float32[n, kinds]: P(kind | shown)."""
    valued: tuple[str, ...]
    """Kinds whose actions carry values."""
    values: NDArray[np.float32]
    """float32[n, valued]: expected value of the kind's actions on an impression."""

    def of(self, places: slice) -> KindPredictions:
        """Those of some candidates."""
        return self._replace(probabilities=self.probabilities[places], values=self.values[places])

    def columns(self) -> dict[str, NDArray[np.float32]]:
        """float32[n] by name: a kind's probability, or `kind.value`; a kind of that very name goes first."""
        values = {f"{kind}{VALUE}": self.values[:, at] for at, kind in enumerate(self.valued)}
        return values | {kind: self.probabilities[:, at] for at, kind in enumerate(self.kinds)}


class Heads:
    """The heads of one version of a model: names, weights and scales. Its towers read `bottom_of` that model."""

    def __init__(self, bottom_dim: int) -> None:
        self.towers = Towers(bottom_dim)
        self._first = weights_of(self.towers)
        self.clear()

    def clear(self) -> None:
        """Nothing is known of any kind."""
        self.kinds: tuple[str, ...] = ()
        """In the order of their first actions; the place is that of the head."""
        self.valued = np.zeros(MOST_KINDS, dtype=np.bool_)
        """bool[MOST_KINDS]: kinds whose actions have carried values."""
        self.intercepts = np.zeros(HEADS)
        """float64[HEADS], added to the towers' log-odds."""
        self.scales = np.ones(MOST_KINDS)
        """float64[MOST_KINDS]: the value of which a value head says how many."""
        load_weights(self.towers, self._first)

    @property
    def active(self) -> bool:
        """Whether there is anything to tell apart; before, what is acted on is acted on by the one kind there is."""
        return len(self.kinds) > 1 or bool(self.valued.any())

    @property
    def names(self) -> list[str]:
        """What can be asked for: kinds, and `kind.value` of those with values."""
        return [*self.kinds, *(f"{self.kinds[place]}{VALUE}" for place in np.flatnonzero(self.valued))]

    @property
    def used(self) -> NDArray[np.int64]:
        """int64[u]: the heads of kinds, then those of values."""
        return np.concatenate([np.arange(len(self.kinds)), MOST_KINDS + np.flatnonzero(self.valued)])

    def log_odds(self, bottom: Tensor, rows: Tensor) -> Tensor:
        """float32[n, u] of the heads `used`, from float32[n, bottom_dim] and the items' rows float32[n, HEADS]."""
        used = self.used
        at, intercepts = torch.from_numpy(used), torch.from_numpy(self.intercepts[used].astype(np.float32))
        odds: Tensor = self.towers(bottom, at) + rows[:, at] + intercepts
        return odds.clamp(-_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)

    def given_acted(self, log_odds: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """P(kind | acted) float32[n, kinds], and expected values given an action float32[n, valued]."""
        kinds = len(self.kinds)
        chances = torch.sigmoid(log_odds[:, :kinds]).numpy()
        if kinds == 1:
            chances = np.ones_like(chances)
        values = torch.exp(log_odds[:, kinds:]).numpy() * self.scales[self.valued].astype(np.float32)
        return chances, values

    def predict(self, acted: NDArray[np.float32], log_odds: Tensor | None) -> KindPredictions:
        """By kind, of candidates with P(acted | shown) `acted` float32[n]; `log_odds` where the heads are active."""
        valued = tuple(self.kinds[place] for place in np.flatnonzero(self.valued))
        if log_odds is None:
            chances = np.ones((len(acted), len(self.kinds)), dtype=np.float32)
            values = np.empty((len(acted), 0), dtype=np.float32)
        else:
            chances, values = self.given_acted(log_odds)
        return KindPredictions(self.kinds, chances * acted[:, None], valued, values * acted[:, None])

    def parts(self) -> Parts:
        """As arrays, for a publication or a checkpoint; nothing before the first kind, and of a single one its name."""
        if not self.kinds:
            return {}
        kinds = np.frombuffer(json.dumps(self.kinds).encode(), dtype=np.uint8)
        parts: Parts = {f"{_PREFIX}kinds": kinds}
        if self.active:
            parts |= {
                f"{_PREFIX}valued": self.valued.astype(np.uint8),
                f"{_PREFIX}intercepts": self.intercepts.copy(),
                f"{_PREFIX}scales": self.scales.copy(),
                **{f"{_PREFIX}towers.{name}": value for name, value in weights_of(self.towers).items()},
            }
        return parts

    def load(self, parts: Parts) -> None:
        """The inverse of `parts`. Raises ValueError where the towers are of another size."""
        names = parts.get(f"{_PREFIX}kinds")
        towers = f"{_PREFIX}towers."
        weights = {name.removeprefix(towers): value for name, value in parts.items() if name.startswith(towers)}
        load_weights(self.towers, weights or self._first)
        self.kinds = () if names is None else tuple(json.loads(names.tobytes()))
        self.valued = np.array(parts.get(f"{_PREFIX}valued", np.zeros(MOST_KINDS)), dtype=np.bool_)
        self.intercepts = np.array(parts.get(f"{_PREFIX}intercepts", np.zeros(HEADS)))
        self.scales = np.array(parts.get(f"{_PREFIX}scales", np.ones(MOST_KINDS)))


def without_heads(dense: Parts) -> tuple[Parts, Parts]:
    """The dense parts of a publication as those of the model's network and those of its heads."""
    heads = {name: value for name, value in dense.items() if name.startswith(_PREFIX)}
    return {name: value for name, value in dense.items() if name not in heads}, heads


class FollowedModel:
    """A network and heads that are those of the publication applied last; a `sync` replica calls it for each."""

    def __init__(self, network: nn.Module | None, heads: Heads) -> None:
        self._network, self._heads = network, heads

    def reset(self, parts: Parts) -> None:
        """Take the weights of a snapshot. Raises ValueError where they are of other sizes."""
        weights, heads = without_heads(parts)
        load_weights(self._network, weights)
        self._heads.load(heads)

    def apply(self, parts: Parts) -> None:
        """Take those of a delta, which are whole too."""
        self.reset(parts)


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
