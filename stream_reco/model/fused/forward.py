"""What the network of `two_tower_dcn` computes of a batch, kept for the way back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.features.names import FEATURES
from stream_reco.model.fused import forward_kernels as kernels
from stream_reco.model.fused.averages import FeatureAverages
from stream_reco.model.fused.gathering import Buffers, Floats, ReadBatch
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_sizes import NO_MATCH, ROW_SCALE, kept_columns, width_of


class RequestLayers(NamedTuple):
    """What is computed once a request: float32, g rows each, and g · RECENT those of histories."""

    history: Floats
    shares: Floats
    """Weights of the items of a history."""
    tower_in: Floats
    tower_hidden: Floats
    vectors: Floats
    request_in: Floats
    condensed: Floats
    leads: Floats


class CandidateLayers(NamedTuple):
    """What is computed of each candidate: float32, n rows each."""

    targets: Floats
    shares: Floats
    """[n, RECENT]: of each match in the sum of their exponentials."""
    best_at: NDArray[np.int64]
    """int64[n]: the best match."""
    narrow: list[Floats]
    """Of each cross layer: what it narrows to, behind its function."""
    wide: list[Floats]
    layers: list[Floats]
    """The first layer, then what is behind each cross layer."""
    hidden: tuple[Floats, Floats]


class ForwardPass:
    """Runs a network on batches; the layers of a batch are valid until the next one."""

    def __init__(self, settings: TwoTowerDcnSettings, weights: DenseWeights, buffers: Buffers) -> None:
        self._settings, self._weights, self._take = settings, weights.learned, buffers.take
        self._all, self._averages = weights, FeatureAverages(weights)
        features = len(FEATURES)
        self._keep, self._width = kept_columns(settings, FEATURES), width_of(settings, features)
        self._match = features + settings.item_dim + settings.request_dim

    def odds(
        self, read: ReadBatch, layers: CandidateLayers, positions: NDArray[np.int64] | None, *, learns: bool = False
    ) -> Floats:
        """float32[n]: log-odds; `positions` int64[n] count from 1, None: unknown.

        With `learns` the running averages of rates take the batch in first.
        """
        weights = self._weights
        odds: Floats = layers.layers[-1] @ weights["top.weight"][0]
        odds += layers.hidden[1] @ weights["deep.4.weight"][0]
        odds += layers.layers[0][:, self._match]
        odds += weights["top.bias"] + weights["deep.4.bias"]
        bias = weights["position_bias.weight"][:, 0]
        odds += bias[0] if positions is None else bias[np.minimum(positions, len(bias) - 1)]
        rates = self._averages.click_rate(read.batch.dense, learns=learns)
        if rates is not None:
            odds += rates
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
            (history, shares, tower_in, request_in),
        )
        hidden = self._linear("user_tower.0", tower_in, np.empty((g, 2 * t), np.float32), rectified=True)
        vectors = self._linear("user_tower.2", hidden, np.empty((g, t), np.float32))
        condensed = self._linear("condense", request_in, np.empty((g, settings.request_dim), np.float32))
        leads = np.matmul(history, weights["leads_to.weight"].T, out=self._take("leads", g * h, t))
        return RequestLayers(history, shares, tower_in, hidden, vectors, request_in, condensed, leads)

    def candidates(self, read: ReadBatch, requests: RequestLayers) -> CandidateLayers:
        """What is computed of each candidate."""
        n, batch, settings = len(read.batch.item_keys), read.batch, self._settings
        first, targets = self._take("first", n, self._width), self._take("targets", n, settings.tower_dim)
        shares = self._take("matches", n, batch.history_ages.shape[1])
        best_at = np.empty(n, dtype=np.int64)
        kernels.assemble(
            (batch.dense, *self._averages.scales(), self._keep),
            (read.items.rows, read.items.places, read.bounds),
            (requests.vectors, requests.condensed, requests.leads, batch.history_ages),
            (ROW_SCALE, MOST_DEVIATIONS, NO_MATCH),
            (first, targets, shares, best_at),
        )
        np.exp(shares, out=shares)
        kernels.sum_matches(shares, first)
        narrow, wide, layers = self._crosses(first)
        one = self._linear("deep.0", first, self._take("one", n, settings.hidden), rectified=True)
        two = self._linear("deep.2", one, self._take("two", n, settings.hidden // 2), rectified=True)
        return CandidateLayers(targets, shares, best_at, narrow, wide, layers, (one, two))

    def is_bounded(self, number: int) -> bool:
        """Whether a cross layer has a function between its halves."""
        return bool(self._all.averages[f"crosses.{number}.bounded"] > 0.0)

    def _crosses(self, first: Floats) -> tuple[list[Floats], list[Floats], list[Floats]]:
        weights, n, x = self._weights, len(first), first
        all_narrow, all_wide, layers = [], [], [first]
        for number in range(self._settings.cross_layers):
            narrow = self._take(f"narrow{number}", n, self._settings.cross_rank)
            np.matmul(x, weights[f"crosses.{number}.narrow.weight"].T, out=narrow)
            if self.is_bounded(number):
                np.tanh(narrow, out=narrow)
            wide, before, x = self._take(f"wide{number}", n, self._width), x, self._take(f"x{number}", n, self._width)
            np.matmul(narrow, weights[f"crosses.{number}.widen.weight"].T, out=wide)
            kernels.add_cross(wide, weights[f"crosses.{number}.widen.bias"], (first, before), x)
            all_narrow.append(narrow)
            all_wide.append(wide)
            layers.append(x)
        return all_narrow, all_wide, layers

    def _linear(self, name: str, x: Floats, out: Floats, *, rectified: bool = False) -> Floats:
        np.matmul(x, self._weights[f"{name}.weight"].T, out=out)
        kernels.add_bias(out, self._weights[f"{name}.bias"], rectified)
        return out
