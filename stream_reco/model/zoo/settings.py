"""Settings of the models, which those who train and those who serve share."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_reco.model.spec import NOT_SHAPING


@dataclass(frozen=True)
class TwoTowerDcnSettings:
    """Sizes and losses. Changing a size makes a checkpoint unreadable; the error says so."""

    item_dim: int = 32
    """Part of an item's row that the ranker reads."""
    tower_dim: int = 32
    """Part of an item's row that says what it is near to, and as much again that says what it leads to."""
    user_dim: int = 8
    """Length of a user's row."""
    context_dim: int = 8
    """Length of the row of a context value."""
    request_dim: int = 16
    """What the ranker reads of user and context together."""
    cross_layers: int = 2
    """Cross layers of DCN-v2."""
    cross_rank: int = 32
    """Rank of their matrices."""
    hidden: int = 128
    """Width of the first hidden layer; the second has half of it."""
    without: tuple[str, ...] = ()
    """Feature families that the model must not see, for ablations."""
    odds_weight: float = field(default=0.3, metadata=NOT_SHAPING)
    """Weight of the pointwise loss, which calibrates, relative to the listwise one, which ranks."""
    tower_weight: float = field(default=0.2, metadata=NOT_SHAPING)
    """Weight of the towers' loss, by which retrieval learns."""


@dataclass(frozen=True)
class GlmixSettings:
    """Learning rate and priors."""

    learning_rate: float = field(default=0.05, metadata=NOT_SHAPING)
    """Of all coefficients (Adagrad)."""
    regularisation: float = field(default=0.01, metadata=NOT_SHAPING)
    """Weight of the squared coefficients of the user and of the item, at each use."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate is {self.learning_rate}: it must be above 0")
        if not self.regularisation >= 0.0:
            raise ValueError(f"regularisation is {self.regularisation}: it must not be negative")


@dataclass(frozen=True)
class BprSettings:
    """Size and regularisation."""

    dim: int = 32
    """Length of the vectors of users and items."""
    regularisation: float = field(default=0.01, metadata=NOT_SHAPING)
    """Weight of the squared length of the vectors of each pair (λ of the paper)."""

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim is {self.dim}: vectors have at least one number")
        if not self.regularisation >= 0.0:
            raise ValueError(f"regularisation is {self.regularisation}: it must not be negative")
