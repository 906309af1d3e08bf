"""`two_tower_dcn` as scorers run it: its published weights and the rows of its tables, through two kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_layers import filled_up, transposed
from stream_reco.model.feature_columns import names_of, widened
from stream_reco.model.features.names import FEATURES, LEARNED_FAMILIES
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.served import Forward
from stream_reco.model.weight_shapes import check_shapes, zeros_of
from stream_reco.model.zoo.feature_layers import rates_of, scales_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_kernels import (
    CandidateRows,
    CandidateWeights,
    RequestRows,
    RequestWeights,
    read_requests,
    score_candidates,
)
from stream_reco.model.zoo.two_tower_dcn_sizes import (
    NEEDS,
    feature_axes,
    joined_later,
    kept_columns,
    shapes_of,
    target_columns,
    width_of,
)
from stream_reco.signals.growing import Parts


class ReadRequests(NamedTuple):
    """What candidates meet of g requests; the fields are those of `CandidateRows`."""

    user_vectors: NDArray[np.float32]
    """float32[g, tower_dim]: where each request's user stands among the items."""
    shared: NDArray[np.float32]
    partners: NDArray[np.float32]
    known: NDArray[np.bool_]


class TwoTowerDcnServed:
    """Scores by the network, and gives the vectors of the towers; before any weights came, all of them are 0."""

    name: ClassVar[str] = "two_tower_dcn"
    Settings: ClassVar[type[TwoTowerDcnSettings]] = TwoTowerDcnSettings
    item_table = "item"

    def __init__(self, settings: TwoTowerDcnSettings) -> None:
        self.settings, self.needs = settings, NEEDS
        self.features = FEATURES
        self.feature_axes = feature_axes(settings)
        self.vector_dim = settings.tower_dim
        self.bottom_dim = settings.hidden // 2 + width_of(settings, len(FEATURES))
        self._uses = {family: family not in settings.without for family in LEARNED_FAMILIES}
        self._shapes = shapes_of(settings, len(FEATURES))
        item = settings.item_dim + 2 * settings.tower_dim
        self.dims = {"item": item, "user": settings.user_dim, "context": settings.context_dim}
        self.load(self.zeros())

    def zeros(self) -> Parts:
        """Weights that fit, and say nothing."""
        return zeros_of(self._shapes) | names_of(self)

    def load(self, weights: Parts) -> None:
        """Take over weights by the names of the network's state; those of earlier releases are widened."""
        later = zeros_of({name: self._shapes[name] for name in joined_later(self.settings)})
        weights = later | widened(self, weights)
        check_shapes(self._shapes, weights)
        self._of_requests, self._of_candidates = self._request_weights(weights), self._candidate_weights(weights)

    def requests(self, batch: Batch, tables: Mapping[str, Lookup]) -> ReadRequests:
        """What it reads and computes of requests alone."""
        count = len(batch.user_keys)
        known = batch.history_ages >= 0.0
        if not self._uses["history"]:
            known = np.zeros_like(known)
        history = tables["item"].lookup(batch.history_keys.reshape(-1)).reshape(*batch.history_keys.shape, -1)
        users, contexts = tables["user"].lookup(batch.user_keys), self._contexts(batch, tables)
        if not self._uses["user"]:
            users = np.zeros_like(users)
        ages = np.where(known, batch.history_ages, np.float32(-1.0))
        one = self.settings
        rows = RequestRows(ages, history[:, :, -one.tower_dim :], contexts.reshape(count, -1), users)
        vectors, shared, partners = read_requests(self._of_requests, rows)
        return ReadRequests(np.ascontiguousarray(vectors[:count, : one.tower_dim]), shared, partners, known)

    def user_vectors(self, requests: ReadRequests) -> NDArray[np.float32]:
        """float32[g, tower_dim]: where each request's user stands among the items."""
        return requests.user_vectors

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, tower_dim]: the items' side of the towers."""
        return np.ascontiguousarray(item_rows[:, target_columns(self.settings)])

    def score(
        self, requests: ReadRequests, batch: Batch, tables: Mapping[str, Lookup], *, bottom: bool = False
    ) -> Forward:
        """Log-odds of the candidates, their positions unknown, and what the deep part and the crosses made of them."""
        count = len(batch.item_keys)
        bounds = np.append(batch.starts, count)
        items = tables["item"].lookup(batch.item_keys)
        rows = CandidateRows(batch.dense, items, bounds, requests.shared, requests.partners, requests.known)
        odds = np.empty(count, dtype=np.float32)
        below = np.empty((count if bottom else 0, self.bottom_dim), dtype=np.float32)
        score_candidates(self._of_candidates, rows, odds, below)
        return Forward(odds, below if bottom else None)

    def _contexts(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[g, fields, context_dim]: zeros for values that are absent."""
        contexts = tables["context"].lookup(batch.context_keys.reshape(-1)).reshape(*batch.context_keys.shape, -1)
        contexts[(batch.context_keys == 0) if self._uses["context_rows"] else ...] = 0.0
        return contexts

    def _request_weights(self, weights: Parts) -> RequestWeights:
        return RequestWeights(
            transposed(weights["user_tower.0.weight"]),
            filled_up(weights["user_tower.0.bias"]),
            transposed(weights["user_tower.2.weight"]),
            filled_up(weights["user_tower.2.bias"]),
            transposed(weights["condense.weight"]),
            filled_up(weights["condense.bias"]),
            transposed(weights["leads_to.weight"]),
        )

    def _candidate_weights(self, weights: Parts) -> CandidateWeights:
        layers = range(self.settings.cross_layers)
        mean, slopes = scales_of(weights, "standardise.")
        uses = np.array([self._uses["item"], self._uses["match"]], dtype=np.float32)
        intercept = weights["top.bias"] + weights["deep.4.bias"] + weights["position_bias.weight"][0]
        return CandidateWeights(
            mean,
            slopes,
            kept_columns(self.settings, FEATURES),
            rates_of(weights, "click_rate."),
            self._of_crosses(weights, "narrow.weight"),
            self._of_crosses(weights, "widen.weight"),
            self._of_crosses(weights, "widen.bias"),
            np.array([weights[f"crosses.{layer}.bounded"] for layer in layers], dtype=np.float32),
            transposed(weights["deep.0.weight"]),
            filled_up(weights["deep.0.bias"]),
            transposed(weights["deep.2.weight"]),
            filled_up(weights["deep.2.bias"]),
            weights["top.weight"][0].copy(),
            weights["deep.4.weight"][0].copy(),
            np.concatenate([intercept, uses]),
            self.settings.item_dim,
        )

    def _of_crosses(self, weights: Parts, part: str) -> NDArray[np.float32]:
        """float32[layers, …]: a weight of all cross layers."""
        name = f"crosses.{{}}.{part}"
        found = [weights[name.format(layer)] for layer in range(self.settings.cross_layers)]
        if not found:
            return np.zeros((0, 0) if part.endswith("bias") else (0, 0, 0), dtype=np.float32)
        return np.stack([transposed(one) if one.ndim > 1 else filled_up(one) for one in found])
