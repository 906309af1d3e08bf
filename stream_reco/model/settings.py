"""Settings of the model room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the model. Changing one makes a checkpoint unreadable; the error says so."""

    item_dim: int = 32
    """Part of an item's row that the ranker reads."""
    tower_dim: int = 32
    """Part of an item's row that says what it is near to, and as much again that says what it leads to."""
    user_dim: int = 8
    context_dim: int = 8
    request_dim: int = 16
    """What the ranker reads of user and context together."""
    cross_layers: int = 2
    cross_rank: int = 32
    hidden: int = 128
    without: tuple[str, ...] = ()
    """Feature families that the model must not see, for ablations."""
