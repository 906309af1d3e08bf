"""How much more or less often than others an item is acted on where it is shown, before anything is learned of it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stream_reco.model.zoo.feature_layers import (
    ACTED,
    FIRST_ACTIONS,
    FIRST_SHOWN,
    LARGEST,
    PRIOR_ACTIONS,
    SHOWN,
    SLOWEST,
)


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
        self.register_buffer("counts", torch.zeros(2, len(SHOWN)))
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("voice", torch.tensor(1.0 if used else 0.0))

    @staticmethod
    def says_nothing(dense: NDArray[np.float32]) -> bool:
        """Whether nothing was shown of features float32[n, len(FEATURES)]: log-odds are 0 then, and nothing learned."""
        return not (dense[:, SHOWN] > 0.0).any()

    def forward(self, dense: Tensor) -> Tensor:
        """float32[n] from features float32[n, len(FEATURES)]: the mean over half-lives; 0 where nothing was shown.

        While training, the running averages take the batch in first.
        """
        shown = torch.expm1(dense[:, SHOWN].clamp(0.0, LARGEST))
        # Actions that had no impression say nothing of a rate.
        acted = torch.minimum(torch.expm1(dense[:, ACTED].clamp(0.0, LARGEST)), shown)
        if self.training:
            self._learn(acted, shown)
        rate = (self.counts[0] + FIRST_ACTIONS) / (self.counts[1] + FIRST_SHOWN)
        expected = rate * shown
        odds = torch.log((acted + PRIOR_ACTIONS) / (expected + PRIOR_ACTIONS))
        return torch.where(shown > 0.0, odds, 0.0).mean(dim=1) * self.voice

    def _learn(self, acted: Tensor, shown: Tensor) -> None:
        if not bool((shown > 0.0).any()):
            return
        self.batches += 1
        share = torch.clamp(1.0 / self.batches, min=SLOWEST)
        self.counts += share * (torch.stack([acted.sum(dim=0), shown.sum(dim=0)]) - self.counts)
