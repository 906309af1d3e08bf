"""What the network of `two_tower_dcn` and its serving form have in common: sizes, constants, shapes of weights."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.feature_columns import FeatureAxis
from stream_reco.model.features.names import FAMILIES
from stream_reco.model.spec import Need
from stream_reco.model.weight_shapes import Shape
from stream_reco.model.zoo.feature_layers import SHOWN
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import CONTEXT_FIELDS

NEEDS: Final[frozenset[Need]] = frozenset({"features", "history", "context", "sampled_negatives"})
POSITIONS = 64
"""Position biases; place 0 says that the position is unknown, later positions share the last place."""
ROW_SCALE = 4.0
"""Rows begin within ±0.05, standardised features have deviation 1: rows are scaled up towards them before they meet."""
NO_MATCH = -4.0
"""Match with an item that the history does not have: about what an unrelated one gets once trained."""
EMPTY_HISTORY = 1e-6
"""Added to the sum of a history's weights, so that an empty one is not divided by zero."""
MATCHES = 3
"""Newest, best, all together."""


def contexts_of(settings: TwoTowerDcnSettings) -> int:
    """How many numbers the rows of a request's context are."""
    return CONTEXT_FIELDS * settings.context_dim


def width_of(settings: TwoTowerDcnSettings, features: int) -> int:
    """How many numbers the network reads of a candidate."""
    return features + settings.item_dim + settings.request_dim + 1 + MATCHES


def target_columns(settings: TwoTowerDcnSettings) -> slice:
    """The part of an item's row that is the target of the towers."""
    return slice(settings.item_dim, settings.item_dim + settings.tower_dim)


def feature_axes(settings: TwoTowerDcnSettings) -> dict[str, FeatureAxis]:
    """The weights with a column for each feature: with these values in it, a feature changes nothing."""
    crosses = [f"crosses.{layer}" for layer in range(settings.cross_layers)]
    return {
        "standardise.mean": FeatureAxis(0),
        "standardise.variance": FeatureAxis(0, 1.0),
        **{f"{cross}.narrow.weight": FeatureAxis(1) for cross in crosses},
        **{f"{cross}.widen.{part}": FeatureAxis(0) for cross in crosses for part in ("weight", "bias")},
        "deep.0.weight": FeatureAxis(1),
        "top.weight": FeatureAxis(1),
    }


def kept_columns(settings: TwoTowerDcnSettings, features: tuple[str, ...]) -> NDArray[np.float32]:
    """float32[features]: 1 for columns that the model may see, 0 for those of families left out."""
    left_out = {name for family in settings.without for name in FAMILIES.get(family, ())}
    return np.array([0.0 if name in left_out else 1.0 for name in features], dtype=np.float32)


def shapes_of(settings: TwoTowerDcnSettings, features: int) -> dict[str, Shape]:
    """The shapes of all weights, by the names of the network's state."""
    one, width, contexts, half = settings, width_of(settings, features), contexts_of(settings), settings.hidden // 2
    linears = {
        "user_tower.0": (2 * one.tower_dim, one.tower_dim + contexts + one.user_dim),
        "user_tower.2": (one.tower_dim, 2 * one.tower_dim),
        "condense": (one.request_dim, one.user_dim + contexts),
        "deep.0": (one.hidden, width),
        "deep.2": (half, one.hidden),
        "deep.4": (1, half),
        "top": (1, width),
        **{f"crosses.{layer}.widen": (width, one.cross_rank) for layer in range(one.cross_layers)},
    }
    shapes: dict[str, Shape] = {
        "leads_to.weight": (one.tower_dim, one.tower_dim),
        "position_bias.weight": (POSITIONS, 1),
        "standardise.mean": (features,),
        "standardise.variance": (features,),
        "standardise.batches": (),
        "standardise.least_variance": (),
        "click_rate.counts": (2, len(SHOWN)),
        "click_rate.batches": (),
        "click_rate.voice": (),
    }
    for layer in range(one.cross_layers):
        shapes |= {f"crosses.{layer}.narrow.weight": (one.cross_rank, width), f"crosses.{layer}.bounded": ()}
    for name, (outputs, inputs) in linears.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return shapes


def learned_by(settings: TwoTowerDcnSettings) -> list[str]:
    """The weights that an optimizer moves, in the order that checkpoints number them in."""
    linears = ["user_tower.0", "user_tower.2", "condense", "leads_to"]
    for layer in range(settings.cross_layers):
        linears += [f"crosses.{layer}.narrow", f"crosses.{layer}.widen"]
    linears += ["deep.0", "deep.2", "deep.4", "top", "position_bias"]
    plain = ("leads_to", "position_bias")
    return [
        f"{name}.{part}"
        for name in linears
        for part in ("weight", "bias")
        if part == "weight" or not name.endswith((".narrow", *plain))
    ]


def joined_later(settings: TwoTowerDcnSettings) -> list[str]:
    """Weights that networks of releases up to 0.2.0 do not have; they are 0 there."""
    crosses = [f"crosses.{layer}.bounded" for layer in range(settings.cross_layers)]
    return ["standardise.least_variance", "click_rate.counts", "click_rate.batches", "click_rate.voice", *crosses]
