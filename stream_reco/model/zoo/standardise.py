"""Features with mean 0 and variance 1, by running averages."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from stream_reco.model.zoo.feature_layers import EPSILON, LEAST_VARIANCE, SLOWEST


class Standardise(nn.Module):
    """Subtracts the running mean and divides by the running deviation, when training and when serving alike.

    Batch normalisation (Ioffe and Szegedy 2015) trains on the averages of each batch and serves on running ones; with
    batches of a few requests those differ a lot, in the features that all candidates of a request share most of all.
    """

    JOINED_LATER: ClassVar[tuple[str, ...]] = ("least_variance",)

    mean: Tensor
    variance: Tensor
    batches: Tensor
    least_variance: Tensor
    """Below which a variance is not taken to be; 0 in networks of releases up to 0.2.0."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("least_variance", torch.tensor(LEAST_VARIANCE))

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, features] of the same shape; while training, the averages take the batch in first."""
        if self.training:
            self._learn(x)
        return (x - self.mean) * self.factor()

    def factor(self) -> Tensor:
        """float32[features]: one over the deviations."""
        return torch.rsqrt(self.variance.clamp(min=self.least_variance) + EPSILON)

    def next_share(self) -> float:
        """Count a batch: what it weighs in the running averages, where the first hundred weigh alike."""
        self.batches += 1
        return max(1.0 / float(self.batches), SLOWEST)

    def _learn(self, x: Tensor) -> None:
        with torch.no_grad():
            share = self.next_share()
            step = x.mean(dim=0) - self.mean
            self.mean += share * step
            spread = (x - self.mean).square().mean(dim=0)
            if self.batches == 1:
                self.variance.copy_(spread)
            else:
                self.variance += share * (spread - self.variance)
