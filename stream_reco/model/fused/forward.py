"""What `Ranker` computes of a batch, kept for the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.fused import forward_kernels as kernels
from stream_reco.model.fused.gathering import Buffers, ReadBatch
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS
from stream_reco.model.zoo.two_tower_dcn import Ranker
from stream_reco.model.zoo.two_tower_dcn_sizes import NO_MATCH, ROW_SCALE


class RequestLayers(NamedTuple):
    """What is computed once a request: float32, g rows each, and g · RECENT those of histories."""

    history: Tensor
    shares: Tensor
    """Weights of the items of a history."""
    tower_in: Tensor
    tower_hidden: Tensor
    vectors: Tensor
    request_in: Tensor
    condensed: Tensor
    leads: Tensor


class CandidateLayers(NamedTuple):
    """What is computed of each candidate: float32, n rows each."""

    targets: Tensor
    shares: Tensor
    """[n, RECENT]: of each match in the sum of their exponentials."""
    best_at: NDArray[np.int64]
    """int64[n]: the best match."""
    narrow: list[Tensor]
    """Of each cross layer: what it narrows to, behind its function."""
    wide: list[Tensor]
    layers: list[Tensor]
    """The first layer, then what is behind each cross layer."""
    hidden: tuple[Tensor, Tensor]


class ForwardPass:
    """Runs a network on batches; the layers of a batch are valid until the next one."""

    def __init__(self, network: Ranker, buffers: Buffers) -> None:
        self._network, self._take = network, buffers.take
        self._settings, self._features = network.settings, len(network.features)
        self._weights: Mapping[str, Tensor] = {name: value.detach() for name, value in network.named_parameters()}
        self._width = network.top.in_features
        self._match = self._features + network.settings.item_dim + network.settings.request_dim

    def odds(self, read: ReadBatch, layers: CandidateLayers, positions: Tensor | None) -> Tensor:
        """float32[n]: log-odds; `positions` int64[n] count from 1, None: unknown."""
        weights, dense = self._weights, torch.from_numpy(read.batch.dense)
        odds = torch.mv(layers.layers[-1], weights["top.weight"][0])
        odds += torch.mv(layers.hidden[1], weights["deep.4.weight"][0])
        odds += layers.layers[0][:, self._match]
        odds += weights["top.bias"] + weights["deep.4.bias"]
        bias = weights["position_bias.weight"][:, 0]
        odds += bias[0] if positions is None else bias.index_select(0, positions.clamp(max=len(bias) - 1))
        if not self._network.click_rate.says_nothing(read.batch.dense):
            odds += self._network.click_rate(dense)
        return odds

    def requests(self, read: ReadBatch) -> RequestLayers:
        """What is computed once a request."""
        weights, batch, settings = self._weights, read.batch, self._settings
        (g, h), t = batch.history_ages.shape, settings.tower_dim
        request = batch.context_keys.shape[1] * settings.context_dim + settings.user_dim
        history, shares = self._take("history", g * h, t), self._take("shares", g, h)
        tower_in, request_in = self._take("tower_in", g, t + request), self._take("request_in", g, request)
        kernels.fill_requests(
            (read.items.rows, read.users.rows, read.contexts.rows),
            read.places,
            (batch.history_ages, batch.context_keys),
            ROW_SCALE,
            (history.numpy(), shares.numpy(), tower_in.numpy(), request_in.numpy()),
        )
        hidden = _linear(weights, "user_tower.0", tower_in).relu_()
        vectors, condensed = _linear(weights, "user_tower.2", hidden), _linear(weights, "condense", request_in)
        leads = torch.mm(history, weights["leads_to.weight"].t())
        return RequestLayers(history, shares, tower_in, hidden, vectors, request_in, condensed, leads)

    def candidates(self, read: ReadBatch, requests: RequestLayers) -> CandidateLayers:
        """What is computed of each candidate."""
        n, batch, moments = len(read.batch.item_keys), read.batch, self._network.standardise
        first = self._take("first", n, self._width)
        targets = self._take("targets", n, self._settings.tower_dim)
        shares = self._take("matches", n, batch.history_ages.shape[1])
        best_at = np.empty(n, dtype=np.int64)
        kernels.assemble(
            (batch.dense, moments.mean.numpy(), moments.factor().numpy(), self._network.keep.numpy()),
            (read.items.rows, read.items.places, read.bounds),
            (requests.vectors.numpy(), requests.condensed.numpy(), requests.leads.numpy(), batch.history_ages),
            (ROW_SCALE, MOST_DEVIATIONS, NO_MATCH),
            (first.numpy(), targets.numpy(), shares.numpy(), best_at),
        )
        shares.exp_()
        kernels.sum_matches(shares.numpy(), first.numpy())
        narrow, wide, layers = self._crosses(first)
        one = _linear(self._weights, "deep.0", first, self._take("one", n, self._settings.hidden)).relu_()
        two = _linear(self._weights, "deep.2", one, self._take("two", n, self._settings.hidden // 2)).relu_()
        return CandidateLayers(targets, shares, best_at, narrow, wide, layers, (one, two))

    def _crosses(self, first: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        weights, n, x = self._weights, len(first), first
        all_narrow, all_wide, layers = [], [], [first]
        for number in range(self._settings.cross_layers):
            narrow = self._take(f"narrow{number}", n, self._settings.cross_rank)
            torch.mm(x, weights[f"crosses.{number}.narrow.weight"].t(), out=narrow)
            if self._network.crosses[number].is_bounded:
                narrow.tanh_()
            wide = _linear(weights, f"crosses.{number}.widen", narrow, self._take(f"wide{number}", n, self._width))
            x = torch.addcmul(x, first, wide, out=self._take(f"x{number}", n, self._width))
            all_narrow.append(narrow)
            all_wide.append(wide)
            layers.append(x)
        return all_narrow, all_wide, layers


def _linear(weights: Mapping[str, Tensor], name: str, x: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.addmm(weights[f"{name}.bias"], x, weights[f"{name}.weight"].t(), out=out)
