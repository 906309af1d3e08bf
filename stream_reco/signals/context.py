"""Context of a request as small numbers: categories that are counted, times that become ages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import key_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import CONTEXT_FIELDS, TIME_FIELDS

ContextValue = str | int | float | bool | None
EARLIEST_TIME_MS = 631_152_000_000
"""1990-01-01: an integer from here on is a time, a smaller one a category."""
LATEST_TIME_MS = 4_102_444_800_000
"""2100-01-01: an integer from here on is a category again."""
LONGEST_VALUE = 512
"""Characters; a longer text is no category."""
NO_VALUE = -1
_INT64 = 1 << 63


class Context(NamedTuple):
    """One request's context."""

    values: NDArray[np.int32]
    """int32[CONTEXT_FIELDS]: number of each field's value, −1 where absent or not counted."""
    keys: NDArray[np.int64]
    """int64[CONTEXT_FIELDS]: embedding key of each field's value, 0 where absent."""
    ages: NDArray[np.float32]
    """float32[TIME_FIELDS]: log(1 + seconds since the field's time), 0 where absent."""


class ContextCoder:
    """Learns the fields and values of the contexts that it is shown; a replica mirrors the trainer's numbers.

    Texts, booleans and whole numbers are categories, whole numbers within a century of ours are times in ms, and what
    is neither is ignored. The first fields to come are kept; one that shows too many live values is dropped for good,
    and keeps its place, so memory is bounded whatever is sent. Numbers of released values are given again.
    """

    def __init__(self, values_per_field: int) -> None:
        self._limit = values_per_field
        self._fields: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._dropped: set[str] = set()
        self._numbers: list[dict[str, int]] = []
        self._entries: list[tuple[int, str] | None] = []
        self._keys: list[int] = []
        self._free: list[int] = []
        self.changed = False
        """Whether anything was learned or released since it was last set to False."""

    @property
    def size(self) -> int:
        """One more than the highest value number ever given."""
        return len(self._entries)

    def learn(self, context: Mapping[str, ContextValue] | None) -> None:
        """Number the fields and values of a context that are new."""
        for field, value in (context or {}).items():
            if value is None or field in self._dropped:
                continue
            if _time(value) is not None:
                self._learn_time(field)
            elif (text := _category(value)) is not None:
                self._learn_value(field, text)

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
            if (time := _time(value)) is not None:
                if (place := self._times.get(field)) is not None:
                    encoded.ages[place] = np.log1p(max(0, now - time) / 1000.0)
            elif (place := self._fields.get(field)) is not None and (text := _category(value)) is not None:
                number = self._numbers[place].get(text, NO_VALUE)
                if number >= 0:
                    encoded.values[place] = number
                    encoded.keys[place] = self._keys[number]
        return encoded

    def unused(self, idle: Iterable[int]) -> list[int]:
        """Those of the `idle` numbers that stand for a value, and all numbers of dropped fields."""
        dropped = {self._fields[field] for field in self._dropped}
        leaving = {int(number) for number in idle if self._entries[number] is not None}
        leaving |= {number for place in dropped for number in self._numbers[place].values()}
        return sorted(leaving)

    def release(self, numbers: Iterable[int]) -> None:
        """Forget values; their numbers will stand for others."""
        for number in numbers:
            entry = self._entries[number]
            if entry is not None:
                place, text = entry
                del self._numbers[place][text]
                self._entries[number] = None
                self._keys[number] = 0
                self._free.append(number)
                self.changed = True

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
        if self._free:
            number = self._free.pop()
        else:
            number = self.size
            self._entries.append(None)
            self._keys.append(0)
        self._set(number, field, place, text)

    def _set(self, number: int, field: str, place: int, text: str) -> None:
        self._entries[number] = (place, text)
        self._numbers[place][text] = number
        # The field salts the key, so that no two fields share one.
        self._keys[number] = key_of(text, f"context.{field}")

    def state(self) -> Parts:
        """Everything, for a checkpoint or a publication."""
        document = (list(self._fields), list(self._times), sorted(self._dropped), self._entries, self._free)
        return {"context": np.frombuffer(msgspec.msgpack.encode(document), dtype=np.uint8)}

    def apply(self, parts: Parts) -> None:
        """Become a copy of the coder that `state` was taken from."""
        fields, times, dropped, entries, self._free = msgspec.msgpack.decode(
            parts["context"].tobytes(),
            type=tuple[list[str], list[str], list[str], list[tuple[int, str] | None], list[int]],
        )
        self._fields = {field: place for place, field in enumerate(fields)}
        self._times = {field: place for place, field in enumerate(times)}
        self._dropped = set(dropped)
        self._numbers = [{} for _ in fields]
        self._entries = list(entries)
        self._keys = [0] * len(entries)
        for number, entry in enumerate(entries):
            if entry is not None:
                self._set(number, fields[entry[0]], *entry)


def _whole(value: ContextValue) -> int | None:
    """A whole number that fits into 64 bits, whatever its type; nothing else."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if value is None or isinstance(value, (str, bool)) or not -_INT64 <= value < _INT64:
        return None
    return value


def _time(value: ContextValue) -> int | None:
    whole = _whole(value)
    return whole if whole is not None and EARLIEST_TIME_MS <= whole < LATEST_TIME_MS else None


def _category(value: ContextValue) -> str | None:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else None
    if isinstance(value, bool):
        return "true" if value else "false"
    whole = _whole(value)
    return None if whole is None else str(whole)
