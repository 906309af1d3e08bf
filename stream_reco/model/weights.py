"""Dense weights of a ranker as named arrays."""

from __future__ import annotations

import numpy as np
import torch

from stream_reco.model.zoo.two_tower_dcn import Ranker
from stream_reco.signals.growing import Parts


def weights_of(ranker: Ranker) -> Parts:
    """Copies of the weights under their names."""
    return {name: value.detach().numpy().copy() for name, value in ranker.state_dict().items()}


class FollowedWeights:
    """A ranker whose weights are those of the publication applied last; a `sync` replica tells it of each."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    def reset(self, parts: Parts) -> None:
        """Take the weights of a snapshot. Raises ValueError as `load_weights` does."""
        load_weights(self._ranker, parts)

    def apply(self, parts: Parts) -> None:
        """Take those of a delta, which are whole too."""
        load_weights(self._ranker, parts)


def load_weights(ranker: Ranker, weights: Parts) -> None:
    """Copy weights by name into a ranker; raises ValueError if one is missing or has another shape."""
    wanted = {name: tuple(value.shape) for name, value in ranker.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    differ = [name for name in [*wanted, *(given.keys() - wanted.keys())] if given.get(name) != wanted.get(name)]
    if differ:
        first = f"{differ[0]} has shape {given.get(differ[0], 'none')} instead of {wanted.get(differ[0], 'none')}"
        rest = f", and {len(differ) - 1} more do not fit" if differ[1:] else ""
        raise ValueError(
            f"these weights are of a model with other sizes, or of another version: {first}{rest}; start with a new"
            " data folder, or restore the model settings that they were trained with"
        )
    ranker.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
