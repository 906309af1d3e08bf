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
_NO_VALUES = np.full(CONTEXT_FIELDS, NO_VALUE, dtype=np.int32)
_NO_KEYS, _NO_AGES = np.zeros(CONTEXT_FIELDS, dtype=np.int64), np.zeros(TIME_FIELDS, dtype=np.float32)
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
    and keeps its place, so memory is bounded whatever is sent. Numbers of released values are given again. Of a value
    only the embedding key is kept, a hash: its text may be known from one user alone, who may be deleted.
    """

    def __init__(self, values_per_field: int) -> None:
        self._limit = values_per_field
        self._fields: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._dropped: set[str] = set()
        self._numbers: list[dict[int, int]] = []
        """Of each field, a value's number by its key."""
        self._entries: list[tuple[int, int] | None] = []
        """Of each number, its field's place and its value's key."""
        self._free: list[int] = []
        self.changed = False
        """Whether anything was learned or released since it was last set to False."""

    @property
    def size(self) -> int:
        """One more than the highest value number ever given."""
        return len(self._entries)

    def learn(self, context: Mapping[str, ContextValue] | None) -> None:
        """Number the fields and values of a context that are new."""
        self.take(context, 0)

    def take(self, context: Mapping[str, ContextValue] | None, now: int) -> Context:
        """`learn` a context, then `encode` it: its values are hashed once."""
        encoded = _nothing()
        for field, value in (context or {}).items():
            if value is None or field in self._dropped:
                continue
            if (time := _time(value)) is not None:
                self._learn_time(field)
                if (place := self._times.get(field)) is not None:
                    encoded.ages[place] = _age(time, now)
            elif (text := _category(value)) is not None:
                key = _key(field, text)
                self._learn_value(field, key)
                self._put(encoded, field, key)
        return encoded

    def encode(self, context: Mapping[str, ContextValue] | None, now: int) -> Context:
        """A context in numbers; what was never learned counts as absent.

        `now` in ms since the epoch.
        """
        encoded = _nothing()
        for field, value in (context or {}).items():
            if value is None or field in self._dropped:
                continue
            if (time := _time(value)) is not None:
                if (place := self._times.get(field)) is not None:
                    encoded.ages[place] = _age(time, now)
            elif (text := _category(value)) is not None:
                self._put(encoded, field, _key(field, text))
        return encoded

    def _put(self, encoded: Context, field: str, key: int) -> None:
        """Write a value where it is known and its field was not dropped."""
        place = self._fields.get(field)
        if place is not None and (number := self._numbers[place].get(key)) is not None and field not in self._dropped:
            encoded.values[place] = number
            encoded.keys[place] = key

    def keys_of(self, field: str) -> NDArray[np.int64]:
        """int64[v]: the embedding keys of the values of a field; none where it is unknown."""
        place = self._fields.get(field)
        return np.array([] if place is None else [*self._numbers[place]], dtype=np.int64)

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
                place, key = entry
                del self._numbers[place][key]
                self._entries[number] = None
                self._free.append(number)
                self.changed = True

    def _learn_time(self, field: str) -> None:
        if field not in self._times and len(self._times) < TIME_FIELDS:
            self._times[field] = len(self._times)
            self.changed = True

    def _learn_value(self, field: str, key: int) -> None:
        place = self._fields.get(field)
        if place is None:
            if len(self._fields) >= CONTEXT_FIELDS:
                return
            place = self._fields[field] = len(self._fields)
            self._numbers.append({})
            self.changed = True
        numbers = self._numbers[place]
        if key in numbers:
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
        self._set(number, place, key)

    def _set(self, number: int, place: int, key: int) -> None:
        self._entries[number] = (place, key)
        self._numbers[place][key] = number

    def state(self) -> Parts:
        """Everything, for a checkpoint or a publication."""
        document = (list(self._fields), list(self._times), sorted(self._dropped), self._entries, self._free)
        return {"context": np.frombuffer(msgspec.msgpack.encode(document), dtype=np.uint8)}

    def apply(self, parts: Parts) -> None:
        """Become a copy of the coder that `state` was taken from, in this release or in one that kept texts."""
        fields, times, dropped, entries, self._free = msgspec.msgpack.decode(
            parts["context"].tobytes(),
            type=tuple[list[str], list[str], list[str], list[tuple[int, int | str] | None], list[int]],
        )
        self._fields = {field: place for place, field in enumerate(fields)}
        self._times = {field: place for place, field in enumerate(times)}
        self._dropped = set(dropped)
        self._numbers = [{} for _ in fields]
        self._entries = [None] * len(entries)
        for number, entry in enumerate(entries):
            if entry is not None:
                place, kept = entry
                self._set(number, place, kept if isinstance(kept, int) else _key(fields[place], kept))


def _nothing() -> Context:
    return Context(_NO_VALUES.copy(), _NO_KEYS.copy(), _NO_AGES.copy())


def _age(time: int, now: int) -> float:
    return float(np.log1p(max(0, now - time) / 1000.0))


def _whole(value: ContextValue) -> int | None:
    """A whole number that fits into 64 bits, whatever its type; nothing else."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if value is None or isinstance(value, (str, bool)) or not -_INT64 <= value < _INT64:
        return None
    return value


def _time(value: ContextValue) -> int | None:
    if type(value) is str:
        return None
    whole = _whole(value)
    return whole if whole is not None and EARLIEST_TIME_MS <= whole < LATEST_TIME_MS else None


def _key(field: str, text: str) -> int:
    """The embedding key of a value; the field salts it, so that no two fields share one."""
    return key_of(text, f"context.{field}")


def _category(value: ContextValue) -> str | None:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else None
    if isinstance(value, bool):
        return "true" if value else "false"
    whole = _whole(value)
    return None if whole is None else str(whole)
