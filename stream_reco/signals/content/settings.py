"""What the features of items and users are, where that shall not be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stream_reco.signals.content.kinds import Kind

KindName = Literal["category", "text", "number", "time", "boolean", "vector", "ignored"]


@dataclass(frozen=True)
class FeatureSettings:
    """Kinds of features by name; what is not named is inferred from the first value that comes."""

    item: Mapping[str, KindName] = field(default_factory=dict)
    """Of items. `ignored`: never read, as is right for what tells what people did, such as a count of clicks."""
    user: Mapping[str, KindName] = field(default_factory=dict)
    """Of users."""


def declared(kinds: Mapping[str, KindName]) -> dict[str, Kind]:
    """The kinds by name."""
    return {name: Kind[kind.upper()] for name, kind in kinds.items()}
