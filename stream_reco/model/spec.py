"""The interface of a model: which rows it reads, what it computes of them, and what it learns from them.

A model is one file in `zoo/` and one line in `registry.py`. Whatever is registered there learns in the same trainer,
travels in the same publications and serves in the same scorer, quicker where a second file says how (`served.py`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.fields import Field, TableSpec
from stream_reco.model.inputs import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from stream_reco.model.rows import Rows
    from stream_reco.model.tensor_batch import TensorBatch

Need = Literal["features", "history", "context", "sampled_negatives"]
PRIOR_LOG_ODDS = -5.0
"""Log-odds before anything is learned: of some 150 candidates one is acted on."""
NOT_SHAPING = {"shapes": False}
"""Metadata of a settings field that changes how a model learns, but not the sizes of its rows and weights."""


class Model(Protocol):
    """What learns from examples and scores candidates.

    It is made from its own settings alone: `Model(settings)`. Its state is its tables' rows and its network's weights.
    """

    name: ClassVar[str]
    """The name in the registry."""
    Settings: ClassVar[type[Any]]
    """A frozen dataclass whose fields have defaults: the section `[model.NAME]` of the settings."""

    settings: Any
    needs: frozenset[Need]
    """What must be computed of a request for it; what nobody needs is left out."""
    tables: tuple[TableSpec, ...]
    fields: tuple[Field, ...]
    network: nn.Module | None
    """Dense weights, learned by Adam and averaged before they are published; None where there are none."""

    def loss(self, batch: TensorBatch, rows: Rows) -> Tensor:
        """The loss of a batch, summed over its examples; differentiable in `rows` and in the network's weights."""
        ...

    def score(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n]: log-odds that the user acts on each candidate, its position unknown."""
        ...


@runtime_checkable
class HasItemVectors(Protocol):
    """What gives vectors of items to search among."""

    item_table: str
    """The table whose rows the items' vectors come from; its keys are items."""
    vector_dim: int

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, vector_dim] of rows float32[n, dim] of `item_table`."""
        ...


@runtime_checkable
class Retrieves(HasItemVectors, Protocol):
    """A model that gives vectors to search by: an item's inner product with a user says how well it fits."""

    def user_vectors(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[g, vector_dim]; reads fields that are not `per_candidate` only."""
        ...


@runtime_checkable
class HasBottom(Protocol):
    """A model with a layer that heads of kinds and values share (`stream_reco.model.heads`)."""

    bottom_dim: int

    def bottom(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n, bottom_dim]: what it has computed of each candidate below its output."""
        ...


class Configured(Protocol):
    """A model or its serving form, as far as its settings go."""

    settings: Any

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...


def settings_digest(model: Configured) -> str:
    """Sixteen hexadecimal digits of the name and of all settings that shape the model's rows and weights."""
    shaping = {
        one.name: getattr(model.settings, one.name)
        for one in fields(model.settings)
        if one.metadata.get("shapes", True)
    }
    text = json.dumps([model.name, shaping], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
