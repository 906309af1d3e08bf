"""The weight of an action, by its kind and its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_reco.events import Action

MOST_UNITS = 10.0
"""Upper bound of the factor by value: one very long view must not outweigh many ordinary ones."""

_NEGATIVE = frozenset({"dislike", "hide", "skip", "report", "block", "unsubscribe", "return"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of positive actions.

    `kinds`: weight by kind of action, 1 where not named, 0 ignores it. `positive_from`: kinds that are positive only
    from a value on, such as ratings. `units`: kinds whose weight grows with their value, with the value that counts
    once (60 of seconds watched, 20 of a price); at most ten times, and not at all at 0 or below.
    """

    kinds: Mapping[str, float] = field(default_factory=dict)
    positive_from: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)

    def of(self, event: Action) -> float:
        """The weight of an action; 0 where it is no positive. A value that is missing counts once."""
        kind, value = event.action, event.value
        if self.positive_from:
            least = self.positive_from.get(kind)
            if least is not None and (value is None or value < least):
                return 0.0
        weight = self.kinds.get(kind, 1.0)
        if self.units and value is not None:
            unit = self.units.get(kind)
            if unit is not None:
                weight *= min(max(value / unit, 0.0), MOST_UNITS)
        return weight

    def sign(self, event: Action) -> int:
        """1 for a positive action, −1 for a negative one, 0 for one that is ignored."""
        if self.of(event) > 0:
            return 1
        return -1 if event.action in _NEGATIVE else 0
