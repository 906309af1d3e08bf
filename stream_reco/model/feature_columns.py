"""Weights that have a column for each feature, by the features' names: networks of earlier releases read fewer.

A weight that was learned without a feature gets a column that leaves what the network computes as it was, so that a
checkpoint, a publication and an optimizer's state go on where they were when features join.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.features.names import FIRST_FEATURES
from stream_reco.signals.growing import Parts

NAMES = "features"
"""Stands among a network's weights for the names of its columns; it is no weight."""


class FeatureAxis(NamedTuple):
    """Where a weight has a column for each feature: the first ones along an axis."""

    axis: int
    neutral: float = 0.0
    """The value there of a feature that nothing was learned of, with which the network computes what it did before."""


@runtime_checkable
class ReadsFeatures(Protocol):
    """A network whose weights depend on how many features there are."""

    features: tuple[str, ...]
    feature_axes: Mapping[str, FeatureAxis]
    """By the names of its weights."""


def names_of(network: object) -> Parts:
    """The names of a network's columns, to go with its weights; nothing for one without such."""
    if not isinstance(network, ReadsFeatures):
        return {}
    return {NAMES: np.frombuffer("\n".join(network.features).encode(), dtype=np.uint8)}


def widened(network: object, weights: Parts) -> Parts:
    """Weights with the columns that this network reads, from those of one that read fewer features.

    What does not fit even so is left as it is. Raises ValueError where the weights read features unknown here.
    """
    weights = dict(weights)
    names = weights.pop(NAMES, None)
    if not isinstance(network, ReadsFeatures):
        return weights
    given, axes = _features_of(names), network.feature_axes
    return {
        name: widen(value, axes[name], given, network.features) if name in axes else value
        for name, value in weights.items()
    }


def widened_moment(
    network: object, weight: str, value: NDArray[np.float32], names: NDArray[np.uint8] | None
) -> NDArray[np.float32]:
    """The same for what an optimizer keeps of a weight: zeros where it has not seen a feature.

    `names` is what stood under `NAMES` among the weights.
    """
    if not isinstance(network, ReadsFeatures) or weight not in network.feature_axes:
        return value
    axis = FeatureAxis(network.feature_axes[weight].axis)
    return widen(value, axis, _features_of(names), network.features)


def _features_of(names: NDArray[np.uint8] | None) -> tuple[str, ...]:
    # Releases up to 0.2.0 did not name them.
    return FIRST_FEATURES if names is None else tuple(names.tobytes().decode().split("\n"))


def widen(
    weight: NDArray[np.float32],
    where: FeatureAxis,
    given: tuple[str, ...],
    wanted: tuple[str, ...],
) -> NDArray[np.float32]:
    """A weight with columns of the features `wanted`, from one with those `given`; what follows them stays.

    Raises ValueError where a feature that is given is not wanted.
    """
    if given == wanted:
        return weight
    if unknown := [name for name in given if name not in wanted]:
        raise ValueError(
            f"these weights read the feature {unknown[0]!r}, which this release does not have: they are of a later"
            " release; run one release everywhere, the latest that has written here"
        )
    if weight.ndim <= where.axis or weight.shape[where.axis] < len(given):
        return weight
    columns = np.moveaxis(weight, where.axis, 0)
    features = np.full((len(wanted), *columns.shape[1:]), where.neutral, dtype=weight.dtype)
    features[[wanted.index(name) for name in given]] = columns[: len(given)]
    joined = np.concatenate([features, columns[len(given) :]])
    return np.ascontiguousarray(np.moveaxis(joined, 0, where.axis))
