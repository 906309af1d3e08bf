"""Dense weights of a ranker as named arrays."""

from __future__ import annotations

import numpy as np
import torch

from stream_reco.model.ranker import Ranker
from stream_reco.signals.growing import Parts


def weights_of(ranker: Ranker) -> Parts:
    """Copies of the weights under their names."""
    return {name: value.detach().numpy().copy() for name, value in ranker.state_dict().items()}


def load_weights(ranker: Ranker, weights: Parts) -> None:
    """Copy weights by name into a ranker; raises ValueError if one is missing or has another shape."""
    try:
        ranker.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"these weights are of a model with other sizes ({error}); start with a new data folder, or restore the"
            " model settings that they were trained with"
        ) from error
