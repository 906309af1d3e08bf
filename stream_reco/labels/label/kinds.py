"""What each kind of action says: for the item, against it or nothing; how much it weighs, and for how long."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stream_reco.events import Action

_LOGGER = logging.getLogger(__name__)

Sign = Literal[-1, 0, 1]
SignName = Literal["positive", "negative", "ignored"]

_READING = ("click", "view", "play", "read", "open")
_LIKING = ("like", "save", "bookmark", "share", "follow")
_BUYING = ("cart", "add_to_cart", "apply", "buy", "purchase")
POSITIVE_KINDS = frozenset((*_READING, *_LIKING, *_BUYING))
NEGATIVE_KINDS = frozenset(("dislike", "hide", "skip", "report", "block", "unsubscribe", "return"))
RATING = "rating"
RATING_POSITIVE_FROM, RATING_NEGATIVE_TO = 4.0, 2.0
"""Of 5: what lies between says neither. A kind with `positive_from` has its own scale above, not below."""
MOST_UNITS = 10.0
"""Upper bound of the factor by value: one very long view must not outweigh many ordinary ones."""
_SIGNS: Mapping[SignName, Sign] = {"positive": 1, "ignored": 0, "negative": -1}
_DAY_MS = 86_400_000
_MOST_NAMED = 1_000
"""Unknown kinds that are named in the log; a field of free text would fill it."""


@dataclass(frozen=True, slots=True)
class KindSettings:
    """What one kind of action says (`[labels.kinds.NAME]`); None: as it is without."""

    sign: SignName | None = None
    """Whether it speaks for the item, against it, or is ignored; by default what its name is known for."""
    weight: float | None = None
    """How much an action of the kind weighs; 0 ignores it."""
    window_days: float | None = None
    """How long after an impression an action of the kind is about it; at most the window of labels."""

    def __post_init__(self) -> None:
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight is {self.weight}: it must be finite and at least 0; 0 ignores the kind")
        if self.window_days is not None and not (math.isfinite(self.window_days) and self.window_days > 0):
            raise ValueError(f"window_days is {self.window_days}: it must be finite and above 0")


class ActionKinds:
    """Sign, weight and window of actions, by their kind and value.

    `kinds`: what is set of a kind; it goes before the rest. `action_weights`: weight by kind, 1 where not named; a
    weight of 0 ignores the kind. `positive_from`: kinds that are positive only from a value on. `value_units`: kinds
    whose weight grows with their value, with the value that counts once (60 of seconds watched, 20 of a price); at most
    ten times, and not at all at 0 or below. A kind without a sign of its own has that of its name, whatever its case
    and whether its words are joined by "_", "-" or a space; an unknown name is positive, and named once in the log.
    """

    def __init__(
        self,
        kinds: Mapping[str, KindSettings] | None = None,
        action_weights: Mapping[str, float] | None = None,
        positive_from: Mapping[str, float] | None = None,
        value_units: Mapping[str, float] | None = None,
    ) -> None:
        """Raises ValueError where a weight, threshold or unit makes no sense."""
        check_kinds(action_weights or {}, positive_from or {}, value_units or {})
        self._kinds = dict(kinds or {})
        self._action_weights, self._units = dict(action_weights or {}), dict(value_units or {})
        self._positive_from = dict(positive_from or {})
        self._set = {*self._kinds, *self._action_weights, *self._units, *self._positive_from}
        self._named: set[str] = set()

    def sign(self, event: Action) -> Sign:
        """1 where an action speaks for its item, -1 where it speaks against it, 0 where it says nothing."""
        weight = self.signed_weight(event)
        return 1 if weight > 0 else -1 if weight < 0 else 0

    def weight(self, event: Action) -> float:
        """The weight of a positive action; 0 where it is none. A value that is missing counts once."""
        return max(self.signed_weight(event), 0.0)

    def signed_weight(self, event: Action) -> float:
        """The weight of an action: above 0 where it is positive, below 0 where negative, 0 where ignored."""
        sign = self._sign(event)
        if sign == 0:
            return 0.0
        kind, value = event.action, event.value
        weight = self._weight_of(kind)
        if value is not None and (unit := self._units.get(kind)) is not None:
            weight *= min(max(value / unit, 0.0), MOST_UNITS)
        return sign * weight

    def window_ms(self, kind: str) -> int | None:
        """How long after an impression an action of the kind is about it (ms); None: as long as any."""
        settings = self._kinds.get(kind)
        days = None if settings is None else settings.window_days
        return None if days is None else max(1, round(days * _DAY_MS))

    def _weight_of(self, kind: str) -> float:
        settings = self._kinds.get(kind)
        if settings is not None and settings.weight is not None:
            return settings.weight
        return self._action_weights.get(kind, 1.0)

    def _sign(self, event: Action) -> Sign:
        kind, value = event.action, event.value
        settings = self._kinds.get(kind)
        given = None if settings is None else settings.sign
        if given in ("negative", "ignored"):
            return _SIGNS[given]
        least = self._positive_from.get(kind)
        if least is not None and value is not None and value >= least:
            return 1
        if given == "positive":
            return 1 if least is None else 0
        name = kind.casefold().replace("-", "_").replace(" ", "_")
        if name == RATING:
            return _sign_of_rating(value, least)
        if least is not None:
            return 0
        return self._sign_of_name(kind, name)

    def _sign_of_name(self, kind: str, name: str) -> Sign:
        if name in NEGATIVE_KINDS:
            return -1
        if name not in POSITIVE_KINDS and kind not in self._set and kind not in self._named:
            self._name(kind)
        return 1

    def _name(self, kind: str) -> None:
        if len(self._named) < _MOST_NAMED:
            self._named.add(kind)
            _LOGGER.warning(
                "actions of the kind %r count as positive, as those of all kinds that are not known by name: if this"
                ' one is not, set labels.kinds.%s.sign to "negative" or "ignored"',
                kind,
                kind,
            )


def _sign_of_rating(value: float | None, least: float | None) -> Sign:
    """The sign of a rating that is not above the setting `least`, if there is one."""
    if value is None:
        return 0
    if value <= RATING_NEGATIVE_TO:
        return -1
    return 1 if least is None and value >= RATING_POSITIVE_FROM else 0


def check_kinds(
    action_weights: Mapping[str, float], positive_from: Mapping[str, float], value_units: Mapping[str, float]
) -> None:
    """Raise ValueError unless weights are finite and not negative, thresholds finite, and units positive."""
    for kind, weight in action_weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"the weight of {kind!r} is {weight}: it must be finite and at least 0; 0 ignores the kind"
            )
    for kind, least in positive_from.items():
        if not math.isfinite(least):
            raise ValueError(f"{kind!r} is positive from {least}: it must be finite; leave it out to take every value")
    for kind, unit in value_units.items():
        if not (math.isfinite(unit) and unit > 0):
            raise ValueError(
                f"{kind!r} counts once for a value of {unit}: it must be finite and above 0; leave it out if the value"
                " is of no matter"
            )
