"""The interface of a model as scorers run it: NumPy weights and NumPy rows in, log-odds out, and no PyTorch.

What a trainer publishes of a model is arrays. Its serving form takes them over and computes what the network computes,
by compiled kernels; the trainer's network stays the reference that it is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.spec import HasItemVectors, Need
from stream_reco.signals.growing import Parts


class Forward(NamedTuple):
    """One forward pass over n candidates."""

    log_odds: NDArray[np.float32]
    """float32[n]: that the user acts on each candidate, its position unknown."""
    bottom: NDArray[np.float32] | None
    """float32[n, bottom_dim]: what heads of kinds and values read; None where it was not asked for."""


class ServedModel(Protocol):
    """What scores candidates. It is made from the settings that its model is trained with."""

    settings: Any
    needs: frozenset[Need]
    """What must be computed of a request for it."""
    dims: Mapping[str, int]
    """The tables that it reads, and how long their rows are."""
    bottom_dim: int
    """The length of what heads read of a candidate; 1 where that is its log-odds."""

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...

    def zeros(self) -> Parts:
        """Weights that fit, and say nothing."""
        ...

    def load(self, weights: Parts) -> None:
        """Take over the network's weights, by the names of its state. Raises ValueError where sizes differ.

        The arrays may be shared: they are read, never written. Not while another thread scores.
        """
        ...

    def requests(self, batch: Batch, tables: Mapping[str, Lookup]) -> Any:
        """What it reads and computes of requests alone, of which candidates are not known yet.

        `user_vectors` and `score` of the same requests take it; nothing is gathered or computed twice.
        """
        ...

    def score(self, requests: Any, batch: Batch, tables: Mapping[str, Lookup], *, bottom: bool = False) -> Forward:
        """The forward pass over the candidates of a batch whose requests are `requests`."""
        ...


@runtime_checkable
class ServesVectors(HasItemVectors, Protocol):
    """A served model that gives vectors to search by: an item's inner product with a user says how well it fits."""

    def user_vectors(self, requests: Any) -> NDArray[np.float32]:
        """float32[g, vector_dim], from what `ServedModel.requests` gave."""
        ...
