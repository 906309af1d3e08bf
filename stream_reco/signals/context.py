"""Context of a request as small numbers: categories that are counted, times that become ages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id, key_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import CONTEXT_FIELDS, TIME_FIELDS

ContextValue = str | int | float | bool | None
EARLIEST_TIME_MS = 631_152_000_000
"""1990-01-01: an integer from here on is a time, a smaller one a category."""
NO_VALUE = -1


class Context(NamedTuple):
    """One request's context."""

    values: NDArray[np.int32]
    """int32[CONTEXT_FIELDS]: number of each field's value, −1 where absent or not counted."""
    keys: NDArray[np.int64]
    """int64[CONTEXT_FIELDS]: embedding key of each field's value, 0 where absent."""
    ages: NDArray[np.float32]
    """float32[TIME_FIELDS]: log(1 + seconds since the field's time), 0 where absent."""


class ContextCoder:
    """Learns the fields and values of the contexts that it is shown; a replica mirrors the trainer's numbers."""

    def __init__(self, values_per_field: int) -> None:
        self._limit = values_per_field
        self._fields: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._numbers: list[dict[str, int]] = []
        self._dropped: set[str] = set()
        self._keys: list[int] = []
        self._owners: list[int] = []
        self.changed = False
        """Whether anything was learned since it was last set to False."""

    @property
    def size(self) -> int:
        """Values numbered so far."""
        return len(self._keys)

    def learn(self, context: Mapping[str, ContextValue] | None) -> None:
        """Number the fields and values of a context that are new."""
        for field, value in (context or {}).items():
            if value is None or field in self._dropped:
                continue
            if _is_time(value):
                self._learn_time(field)
            elif not isinstance(value, float):
                self._learn_value(field, _text(value))

    def encode(self, context: Mapping[str, ContextValue] | None, now: int) -> Context:
        """A context in numbers; what was never learned counts as absent.

        `now` in ms since the epoch.
        """
        encoded = Context(
            np.full(CONTEXT_FIELDS, NO_VALUE, dtype=np.int32),
            np.zeros(CONTEXT_FIELDS, dtype=np.int64),
            np.zeros(TIME_FIELDS, dtype=np.float32),
        )
        for field, value in (context or {}).items():
            if value is None or field in self._dropped:
                continue
            if isinstance(value, int) and _is_time(value):
                place = self._times.get(field)
                if place is not None:
                    encoded.ages[place] = np.log1p(max(0, now - value) / 1000.0)
                continue
            place = self._fields.get(field)
            number = None if place is None else self._numbers[place].get(_text(value))
            if place is not None and number is not None:
                encoded.values[place] = number
                encoded.keys[place] = self._keys[number]
        return encoded

    def _learn_time(self, field: str) -> None:
        if field not in self._times and len(self._times) < TIME_FIELDS:
            self._times[field] = len(self._times)
            self.changed = True

    def _learn_value(self, field: str, text: str) -> None:
        place = self._fields.get(field)
        if place is None:
            if len(self._fields) >= CONTEXT_FIELDS:
                return
            place = self._fields[field] = len(self._fields)
            self._numbers.append({})
            self.changed = True
        numbers = self._numbers[place]
        if text in numbers:
            return
        self.changed = True
        if len(numbers) >= self._limit:
            self._dropped.add(field)
            return
        numbers[text] = self.size
        self._keys.append(key_of(f"{field}={text}", "context"))
        self._owners.append(place)

    def state(self) -> Parts:
        """Everything, for a checkpoint or a publication."""
        values = [[text for text, _ in sorted(numbers.items(), key=lambda pair: pair[1])] for numbers in self._numbers]
        document = (list(self._fields), list(self._times), values, sorted(self._dropped), self._owners)
        return {"context": np.frombuffer(msgspec.msgpack.encode(document), dtype=np.uint8)}

    def apply(self, parts: Parts) -> None:
        """Become a copy of the coder that `state` was taken from."""
        fields, times, values, dropped, owners = msgspec.msgpack.decode(
            parts["context"].tobytes(), type=tuple[list[str], list[str], list[list[str]], list[str], list[int]]
        )
        self._fields = {field: place for place, field in enumerate(fields)}
        self._times = {field: place for place, field in enumerate(times)}
        self._dropped = set(dropped)
        self._owners = owners
        self._numbers = [{} for _ in fields]
        unread = [iter(texts) for texts in values]
        self._keys = []
        for number, place in enumerate(owners):
            text = next(unread[place])
            self._numbers[place][text] = number
            self._keys.append(key_of(f"{fields[place]}={text}", "context"))


def _is_time(value: ContextValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= EARLIEST_TIME_MS


def _text(value: Id | float | bool) -> str:
    return value if isinstance(value, str) else repr(value)
