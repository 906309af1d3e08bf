"""Whether the arrays of a publication or a checkpoint are the weights that a network of these sizes has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_reco.signals.growing import Parts

Shape = tuple[int, ...]


def check_shapes(wanted: Mapping[str, Shape], weights: Parts) -> None:
    """Raise ValueError, naming the first, where a weight is missing, unknown or of another shape."""
    given = {name: value.shape for name, value in weights.items()}
    differ = [name for name in [*wanted, *(given.keys() - wanted.keys())] if given.get(name) != wanted.get(name)]
    if differ:
        first = f"{differ[0]} has shape {given.get(differ[0], 'none')} instead of {wanted.get(differ[0], 'none')}"
        rest = f", and {len(differ) - 1} more do not fit" if differ[1:] else ""
        raise ValueError(
            f"these weights are of a model with other sizes, or of another version: {first}{rest}; start with a new"
            " data folder, or restore the model settings that they were trained with"
        )


def zeros_of(shapes: Mapping[str, Shape]) -> Parts:
    """Weights of these shapes that are 0."""
    return {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
