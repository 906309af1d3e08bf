"""The ranking model: a deep & cross network over counters, rows and the match of the two towers.

Cross layers with a low-rank matrix are DCN-v2 (Wang et al. 2021, §3.3, §3.5): x ← x + x₀ ⊙ (V tanh(U x) + b). The
towers are a dot product of a user vector, made of the history, the context and the user's row, with an item's row
(Covington et al. 2016, §3.2; Yi et al. 2019). What the average of a history hides, the ranker reads from the matches of
a candidate with the items of the history, one by one (Zhou et al. 2018, §4.3, weigh a history by them).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.features.names import FEATURES, LEARNED_FAMILIES
from stream_reco.model.fields import Field, TableSpec, present
from stream_reco.model.inputs import Batch
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_first import first_weights
from stream_reco.model.zoo.two_tower_dcn_sizes import (
    NEEDS,
    feature_axes,
    joined_later,
    learned_by,
    shapes_of,
    target_columns,
    width_of,
)
from stream_reco.signals.growing import Parts

if TYPE_CHECKING:
    from torch import Tensor

    from stream_reco.model.rows import Rows
    from stream_reco.model.tensor_batch import TensorBatch
    from stream_reco.model.zoo.two_tower_dcn_network import Ranker


class TwoTowerDcn:
    """Ranks by the network, retrieves by the towers.

    A row of "item" is three vectors behind each other: what the ranker reads, what the item is (the target of the
    tower), and what it says as a part of a history.
    """

    name: ClassVar[str] = "two_tower_dcn"
    Settings: ClassVar[type[TwoTowerDcnSettings]] = TwoTowerDcnSettings
    item_table = "item"

    def __init__(self, settings: TwoTowerDcnSettings) -> None:
        self.settings = settings
        self.needs = NEEDS
        self.vector_dim = settings.tower_dim
        self.tables = (
            TableSpec("item", settings.item_dim + 2 * settings.tower_dim),
            TableSpec("user", settings.user_dim, per_user=True),
            TableSpec("context", settings.context_dim),
        )
        self.fields = (
            # A sampled negative alone gives an item no row.
            Field("candidates", "item", lambda b: b.item_keys, lambda t: t.batch.item_keys[t.batch.starts], True),
            Field("history", "item", lambda b: b.history_keys),
            Field("user", "user", lambda b: b.user_keys, lambda t: t.batch.user_keys),
            Field("context", "context", lambda b: b.context_keys, lambda t: present(t.batch.context_keys)),
        )
        self.features = FEATURES
        self.feature_axes = feature_axes(settings)
        self.bottom_dim = settings.hidden // 2 + width_of(settings, len(FEATURES))
        self.uses = {family: family not in settings.without for family in LEARNED_FAMILIES}
        shapes, learned = shapes_of(settings, len(FEATURES)), learned_by(settings)
        averages: Parts = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name not in learned}
        self.weights = DenseWeights(
            {name: shapes[name] for name in learned}, averages, self, frozenset(joined_later(settings))
        )
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Start with the first weights of this seed."""
        self.weights.load(first_weights(self.settings, seed))

    def __deepcopy__(self, memo: dict[int, Any]) -> TwoTowerDcn:
        copied = type(self)(self.settings)
        copied.weights.load(self.weights.state())
        return copied

    @cached_property
    def network(self) -> Ranker:
        """The network on these weights, for autograd; PyTorch is imported for it."""
        from stream_reco.model.weights import place_on
        from stream_reco.model.zoo.two_tower_dcn_network import Ranker

        network = Ranker(self.settings)
        place_on(network, self.weights)
        network.eval()
        return network

    def score(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n]: log-odds of each candidate, its position unknown."""
        result: Tensor = self.network(batch, rows, self.user_vectors(batch, rows))
        return result

    def bottom(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n, bottom_dim]: what the deep part and the crosses have made of each candidate."""
        users = self.user_vectors(batch, rows)
        return self.network.below(batch, rows, users)

    def user_vectors(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[g, tower_dim]: where each request's user stands among the items."""
        return rows.once("user_vectors", lambda: self.network.user_vectors(batch, rows))

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, tower_dim]: the items' side of the towers."""
        return np.ascontiguousarray(item_rows[:, target_columns(self.settings)])

    def loss(self, batch: TensorBatch, rows: Rows) -> Tensor:
        """See `Ranker.loss`."""
        return self.network.loss(batch, rows, self.user_vectors(batch.batch, rows))
