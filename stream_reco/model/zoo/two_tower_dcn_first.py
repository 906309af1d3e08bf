"""The weights that `two_tower_dcn` begins with."""

from __future__ import annotations

import numpy as np

from stream_reco.model.feature_columns import names_of, widened
from stream_reco.model.features.names import FAMILIES, FEATURES, FIRST_FEATURES
from stream_reco.model.random_weights import RandomWeights
from stream_reco.model.spec import PRIOR_LOG_ODDS
from stream_reco.model.weight_shapes import zeros_of
from stream_reco.model.zoo.feature_layers import LEAST_VARIANCE
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_sizes import feature_axes, learned_by, shapes_of
from stream_reco.signals.growing import Parts

_INTERCEPT = "deep.4.bias"
"""It begins at the odds of most impressions. From even odds every weight would learn to say no first, those of what is
shown most above all, and thousands of examples later the order of a list would still suffer from it."""
_OUTPUTS = ("top.weight", "deep.4.weight")
"""Weights of the outputs. They begin small, so that the first lists are ordered by what is known (`ClickRate`,
neighbours) and by the towers' match; larger ones would add noise that takes a thousand lists to unlearn."""
_OUTPUT_SCALE = np.float32(0.1)
"""What they begin with, relative to other layers."""
_SHOWN = [FIRST_FEATURES.index(name) for name in FAMILIES["shown"]]
"""Features that say nothing until the first impressions come. Standardised, their first values stand far outside, and
weights that were still random would make anything of them; so these begin at zero as well."""
_NEIGHBOUR_WEIGHT = 0.5
"""Log-odds that a new model gives a deviation of `neighbours_all`. People like what those liked who liked the same:
where slates are all that anybody sees, a model that must find that out first shows nothing that would teach it."""
_ZEROS = ("widen.weight", "widen.bias", "position_bias.weight")
"""It begins without any cross: random ones of features far from their means would outweigh what is known."""


class _Columns:
    """What the weights read, to be widened to."""

    def __init__(self, settings: TwoTowerDcnSettings) -> None:
        self.features, self.feature_axes = FEATURES, feature_axes(settings)


def first_weights(settings: TwoTowerDcnSettings, seed: int) -> Parts:
    """All weights by name, drawn with a seed; they begin as if the features that joined later did not exist."""
    shapes, random = shapes_of(settings, len(FIRST_FEATURES)), RandomWeights(seed)
    first = zeros_of(shapes)
    for name in learned_by(settings):
        layer, _, _ = name.rpartition(".")
        if layer != "position_bias":
            drawn = random.of_layer(shapes[name], inputs=shapes[f"{layer}.weight"][1])
            if not name.endswith(_ZEROS):
                first[name] = drawn
    for number in range(settings.cross_layers):
        first[f"crosses.{number}.bounded"] = np.ones((), np.float32)
    first["standardise.variance"] = np.ones(len(FIRST_FEATURES), np.float32)
    first["standardise.least_variance"] = np.full((), LEAST_VARIANCE, np.float32)
    first["click_rate.voice"] = np.full((), "shown" not in settings.without, np.float32)
    for name, (axis, neutral) in feature_axes(settings).items():
        np.moveaxis(first[name], axis, 0)[_SHOWN] = neutral
    for name in _OUTPUTS:
        first[name] *= _OUTPUT_SCALE
    first[_INTERCEPT] = np.full(1, PRIOR_LOG_ODDS, dtype=np.float32)
    columns = _Columns(settings)
    weights = widened(columns, first)
    weights["top.weight"][0, FEATURES.index("neighbours_all")] = _NEIGHBOUR_WEIGHT
    return weights | names_of(columns)
