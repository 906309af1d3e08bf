"""Settings of the encoder: how long its vectors are, and what it learns them from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(gt=0.0, le=10.0)]
Hours = Annotated[float, Meta(gt=0.0, le=8760.0)]


@dataclass(frozen=True)
class EncoderSettings:
    """A vector of every described item, whether anybody acted on it or not. What is not described costs nothing.

    As at Avito it learns from pairs within 8 hours, against items drawn by the root of their popularity.
    """

    dim: Annotated[int, Meta(ge=0, le=256)] = 32
    """Numbers of a vector; 0: no vectors. Changing it makes a checkpoint unreadable; the error says so."""
    hours: Hours = 8.0
    """Two items are a pair where one person acted on both within so long."""
    pairs: Annotated[int, Meta(ge=1, le=64)] = 4
    """Earlier items that an action is paired with at most, the newest."""
    negatives: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Active items that are drawn for each action, with probability ∝ √activity."""
    hardest: Annotated[int, Meta(ge=1, le=256)] = 16
    """Of these the most similar ones, which alone are learned from."""
    learning_rate: Share = 0.05
    """Of its rows (Adagrad)."""
