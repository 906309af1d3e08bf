"""How much more or less often than others an item is acted on where it is shown, before anything is learned of it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stream_reco.model.features.names import FEATURES

_PAIRS = [("shown_6h", "decayed_6h"), ("shown_7d", "decayed_7d")]
"""Impressions and actions under the same half-life, both as log(1 + count)."""
_SHOWN, _ACTED = ([FEATURES.index(pair[side]) for pair in _PAIRS] for side in (0, 1))
_PRIOR_ACTIONS = 4.0
"""Actions at the rate of all items that each item begins with: as if rates had a deviation of 1 / √4 of their mean
(the shape of a Gamma prior). With twice or half of it items come in the same order, but for a few."""
_FIRST_ACTIONS, _FIRST_SHOWN = 0.5, 10.0
"""What the rate of all items begins with."""
_LARGEST = 20.0
"""log(1 + count) that is believed, of half a billion: a damaged feature must not make infinities."""
_SLOWEST = 0.01
"""Least weight of a batch in the running averages: they forget over about a hundred batches."""


class ClickRate(nn.Module):
    """Log-odds of the items' own rates against the rate of all: a Gamma-Poisson model of each item.

    An item that is hardly known is taken for an average one. The rate of all is of the items that are trained on, and
    so weighs them by how often they are shown.
    """

    JOINED_LATER: ClassVar[tuple[str, ...]] = ("counts", "batches", "voice")

    counts: Tensor
    """float32[2, half-lives]: actions and impressions of the items of a batch, running averages."""
    batches: Tensor
    voice: Tensor
    """1, or 0 in networks of releases up to 0.2.0, which had no such log-odds."""

    def __init__(self, used: bool = True) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(2, len(_PAIRS)))
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("voice", torch.tensor(1.0 if used else 0.0))

    @staticmethod
    def says_nothing(dense: NDArray[np.float32]) -> bool:
        """Whether nothing was shown of features float32[n, len(FEATURES)]: log-odds are 0 then, and nothing learned."""
        return not (dense[:, _SHOWN] > 0.0).any()

    def forward(self, dense: Tensor) -> Tensor:
        """float32[n] from features float32[n, len(FEATURES)]: the mean over half-lives; 0 where nothing was shown.

        While training, the running averages take the batch in first.
        """
        shown = torch.expm1(dense[:, _SHOWN].clamp(0.0, _LARGEST))
        # Actions that had no impression say nothing of a rate.
        acted = torch.minimum(torch.expm1(dense[:, _ACTED].clamp(0.0, _LARGEST)), shown)
        if self.training:
            self._learn(acted, shown)
        rate = (self.counts[0] + _FIRST_ACTIONS) / (self.counts[1] + _FIRST_SHOWN)
        expected = rate * shown
        odds = torch.log((acted + _PRIOR_ACTIONS) / (expected + _PRIOR_ACTIONS))
        return torch.where(shown > 0.0, odds, 0.0).mean(dim=1) * self.voice

    def _learn(self, acted: Tensor, shown: Tensor) -> None:
        if not bool((shown > 0.0).any()):
            return
        self.batches += 1
        share = torch.clamp(1.0 / self.batches, min=_SLOWEST)
        self.counts += share * (torch.stack([acted.sum(dim=0), shown.sum(dim=0)]) - self.counts)
