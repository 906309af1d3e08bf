"""What heads say, without PyTorch: their state, what follows from their log-odds, and heads as scorers run them.

What they are for and where they come from is in `heads.py`, which holds those that learn.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_reco.embedding import Adagrad
from stream_reco.model.dense_layers import filled_up, linear, rectify, sigmoid, transposed
from stream_reco.model.fields import TableSpec
from stream_reco.model.served import ServedModel
from stream_reco.model.weight_shapes import Shape, check_shapes, zeros_of
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
TOWER = 8
"""Width of a tower."""
PREFIX = "heads."
LARGEST_LOG_ODDS = 20.0
"""Larger ones are damage, and their exponential would spoil what they are summed up with."""


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


class KindHeads:
    """Names, scales and intercepts of the heads of one version of a model, and what their log-odds say."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Nothing is known of any kind."""
        self.kinds: tuple[str, ...] = ()
        """In the order of their first actions; the place is that of the head."""
        self.valued = np.zeros(MOST_KINDS, dtype=np.bool_)
        """bool[MOST_KINDS]: kinds whose actions have carried values."""
        self.intercepts = np.zeros(HEADS)
        """float64[HEADS], added to the towers' log-odds."""
        self.scales = np.ones(MOST_KINDS)
        """float64[MOST_KINDS]: the value of which a value head says how many."""

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

    def given_acted(self, log_odds: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """P(kind | acted) float32[n, kinds], and expected values given an action float32[n, valued]."""
        odds, kinds = np.asarray(log_odds, dtype=np.float32), len(self.kinds)
        chances = sigmoid(odds[:, :kinds])
        if kinds == 1:
            chances = np.ones_like(chances)
        values = np.exp(odds[:, kinds:]) * self.scales[self.valued].astype(np.float32)
        return chances, values

    def predict(self, acted: NDArray[np.float32], log_odds: ArrayLike | None) -> KindPredictions:
        """By kind, of candidates with P(acted | shown) `acted` float32[n]; `log_odds` where the heads are active."""
        valued = tuple(self.kinds[place] for place in np.flatnonzero(self.valued))
        if log_odds is None:
            chances = np.ones((len(acted), len(self.kinds)), dtype=np.float32)
            values = np.empty((len(acted), 0), dtype=np.float32)
        else:
            chances, values = self.given_acted(log_odds)
        return KindPredictions(self.kinds, chances * acted[:, None], valued, values * acted[:, None])

    def _take(self, parts: Parts) -> Parts:
        """Take over all but the towers of what `Heads.parts` gave; returns the towers' weights, if there are any."""
        names = parts.get(f"{PREFIX}kinds")
        self.kinds = () if names is None else tuple(json.loads(names.tobytes()))
        self.valued = np.array(parts.get(f"{PREFIX}valued", np.zeros(MOST_KINDS)), dtype=np.bool_)
        self.intercepts = np.array(parts.get(f"{PREFIX}intercepts", np.zeros(HEADS)))
        self.scales = np.array(parts.get(f"{PREFIX}scales", np.ones(MOST_KINDS)))
        return towers_among(parts)


def towers_among(parts: Parts) -> Parts:
    """The weights of the towers among the parts of heads, by the names of their module."""
    towers = f"{PREFIX}towers."
    return {name.removeprefix(towers): value for name, value in parts.items() if name.startswith(towers)}


class ServedHeads(KindHeads):
    """Heads as scorers run them; their towers read what a served model's `Forward` has as `bottom`."""

    def __init__(self, bottom_dim: int) -> None:
        super().__init__()
        self._shapes: dict[str, Shape] = {
            "out": (HEADS, TOWER),
            "narrow.weight": (HEADS * TOWER, bottom_dim),
            "narrow.bias": (HEADS * TOWER,),
        }
        self.load({})

    def load(self, parts: Parts) -> None:
        """Take over what `Heads.parts` gave. Raises ValueError where the towers are of another size."""
        weights = towers_among(parts) or zeros_of(self._shapes)
        check_shapes(self._shapes, weights)
        self._take(parts)
        used, bottom_dim = self.used, self._shapes["narrow.weight"][1]
        narrow = weights["narrow.weight"].reshape(HEADS, TOWER, bottom_dim)[used].reshape(-1, bottom_dim)
        self._narrow, self._out = transposed(narrow), weights["out"][used]
        self._bias = filled_up(weights["narrow.bias"].reshape(HEADS, TOWER)[used].reshape(-1))
        self._of_used, self._intercepts = used, self.intercepts[used].astype(np.float32)

    def log_odds(self, bottom: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, u] of the heads `used`, from float32[n, bottom_dim] and the items' rows float32[n, HEADS]."""
        hidden = linear(bottom, self._narrow, self._bias)
        rectify(hidden)
        count, used = len(bottom), len(self._of_used)
        towers = np.einsum("nut,ut->nu", hidden[:, : used * TOWER].reshape(count, used, TOWER), self._out)
        odds = towers + rows[:, self._of_used] + self._intercepts
        bounded: NDArray[np.float32] = np.clip(odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
        return bounded


def without_heads(dense: Parts) -> tuple[Parts, Parts]:
    """The dense parts of a publication as those of the model's network and those of its heads."""
    heads = {name: value for name, value in dense.items() if name.startswith(PREFIX)}
    return {name: value for name, value in dense.items() if name not in heads}, heads


class FollowedModel:
    """A served model and heads that are those of the publication applied last; a `sync` replica calls it for each."""

    def __init__(self, model: ServedModel, heads: ServedHeads) -> None:
        self._model, self._heads = model, heads

    def reset(self, parts: Parts) -> None:
        """Take the weights of a snapshot. Raises ValueError where they are of other sizes."""
        weights, heads = without_heads(parts)
        self._model.load(weights)
        self._heads.load(heads)

    def apply(self, parts: Parts) -> None:
        """Take those of a delta, which are whole too."""
        self.reset(parts)


def warm_heads() -> None:
    """Compile and load the kernels of heads, which a server needs from its second kind of action on."""
    heads = ServedHeads(1)
    heads.load({f"{PREFIX}kinds": np.frombuffer(b'["one", "other"]', dtype=np.uint8)})
    heads.log_odds(np.zeros((1, 1), np.float32), np.zeros((1, HEADS), np.float32))
