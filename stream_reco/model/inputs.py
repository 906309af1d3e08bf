"""What the model reads of one request and its candidates, and how it travels with an example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import FEATURES, FIRST_FEATURES
from stream_reco.signals.content.values import NO_VALUES, Values
from stream_reco.signals.settings import CONTEXT_FIELDS, HOUR_MS, RECENT

T = TypeVar("T", bound=np.generic)
NO_KEY = np.int64(0)
"""Stands where there is no key; its use is masked."""
NO_CANDIDATES = (
    np.empty(0, dtype=np.int64),
    np.empty((0, len(FEATURES)), dtype=np.float32),
    np.empty(0, dtype=np.float32),
)
"""`item_keys`, `dense` and `rates` of a request whose candidates are not known yet."""
_NO_COUNTS = np.empty(0, dtype=np.int32)


class _OnWire(msgspec.Struct, frozen=True, array_like=True):
    """`Inputs` as bytes; arrays of more than one part are one behind the other."""

    user_key: int
    context_keys: bytes
    history_keys: bytes
    history_ages: bytes
    item_keys: bytes
    dense: bytes
    rates: bytes
    profile: tuple[bytes, bytes, bytes] | None = None
    """Releases up to 0.2.0 write neither this nor what follows, and refuse it."""
    counts: bytes = b""
    said: tuple[bytes, bytes, bytes] | None = None


@dataclass(frozen=True)
class Inputs:
    """One request: the user, the context, the history, and n candidates."""

    user_key: int
    context_keys: NDArray[np.int64]
    """int64[CONTEXT_FIELDS], 0 where absent."""
    history_keys: NDArray[np.int64]
    """int64[RECENT] item keys, newest first, 0 behind the last."""
    history_ages: NDArray[np.float32]
    """float32[RECENT], log(1 + hours); −1 behind the last."""
    item_keys: NDArray[np.int64]
    """int64[n]."""
    dense: NDArray[np.float32]
    """float32[n, len(FEATURES)], or float32[n, 0] for a model that needs no features."""
    rates: NDArray[np.float32]
    """float32[n]: expected number of times that sampling includes the candidate; 1 where nothing was sampled."""

    profile: Values = NO_VALUES
    """What is said of the user."""
    counts: NDArray[np.int32] = field(default_factory=_NO_COUNTS.copy)
    """int32[n]: how many values of `said` each candidate has; int32[0]: none has any."""
    said: Values = NO_VALUES
    """What is said of the candidates, one behind the other."""

    def some(self, places: NDArray[np.int64] | list[int]) -> Inputs:
        """The same request with some of its candidates, in the order of `places`."""
        at = np.asarray(places, dtype=np.int64)
        counts, said = self.counts, self.said
        if len(counts):
            counts = counts[at]
            ends = np.cumsum(self.counts, dtype=np.int64)[at]
            starts = np.repeat(ends - counts - (np.cumsum(counts) - counts), counts)
            said = said.at(starts + np.arange(len(starts)))
        return replace(
            self, item_keys=self.item_keys[at], dense=self.dense[at], rates=self.rates[at], counts=counts, said=said
        )

    def to_bytes(self) -> bytes:
        """A compact form that `from_bytes` reads."""
        whole = (
            self.user_key,
            self.context_keys.tobytes(),
            self.history_keys.tobytes(),
            self.history_ages.tobytes(),
            self.item_keys.tobytes(),
            self.dense.tobytes(),
            self.rates.tobytes(),
        )
        profile, said = _values_to_bytes(self.profile), _values_to_bytes(self.said)
        if profile is None and said is None:
            return _ENCODER.encode(whole)
        return _ENCODER.encode((*whole, profile, self.counts.tobytes() if said is not None else b"", said))

    @classmethod
    def from_bytes(cls, data: bytes) -> Inputs:
        """The inputs that `to_bytes` wrote; their arrays are read-only.

        Features that joined after the release that wrote them are 0: nothing was known of them.
        """
        wire = _DECODER.decode(data)
        items = np.frombuffer(wire.item_keys, np.int64)
        dense = np.frombuffer(wire.dense, np.float32)
        return cls(
            wire.user_key,
            np.frombuffer(wire.context_keys, np.int64),
            np.frombuffer(wire.history_keys, np.int64),
            np.frombuffer(wire.history_ages, np.float32),
            items,
            _of_this_release(dense.reshape(len(items), -1)) if len(items) else NO_CANDIDATES[1],
            np.frombuffer(wire.rates, np.float32),
            _values_of_bytes(wire.profile),
            np.frombuffer(wire.counts, np.int32),
            _values_of_bytes(wire.said),
        )

    def fits_this_release(self) -> bool:
        """Whether every part has the length that models of this release read."""
        parts = self.context_keys, self.history_keys, self.history_ages, self.dense, self.rates
        n = len(self.item_keys)
        if not (_is_whole(self.profile) and _is_whole(self.said)):
            return False
        if len(self.counts) not in (0, n) or self.counts.min(initial=0) < 0:
            return False
        if len(self.said.codes) != self.counts.sum():
            return False
        if self.dense.shape[1] not in (0, len(FEATURES)):
            return False
        return n > 0 and [len(part) for part in parts] == [CONTEXT_FIELDS, RECENT, RECENT, n, n]


def _is_whole(values: Values) -> bool:
    return len(values.fields) == len(values.codes) == len(values.weights)


def _of_this_release(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of an earlier release, which had fewer, filled up with zeros; others as they are."""
    if not len(FIRST_FEATURES) <= dense.shape[1] < len(FEATURES):
        return dense
    return np.pad(dense, ((0, 0), (0, len(FEATURES) - dense.shape[1])))


_JOINED = ("user_keys", "context_keys", "history_keys", "history_ages", "item_keys", "dense", "rates")
"""Fields of a batch that those of several are put behind each other for."""
_DENSE_BYTES = np.dtype(np.float32).itemsize * len(FEATURES)
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_OnWire)


def _values_to_bytes(values: Values) -> tuple[bytes, bytes, bytes] | None:
    return (values[0].tobytes(), values[1].tobytes(), values[2].tobytes()) if len(values.codes) else None


def _values_of_bytes(columns: tuple[bytes, bytes, bytes] | None) -> Values:
    if columns is None:
        return NO_VALUES
    fields, codes, weights = columns
    return Values(np.frombuffer(fields, np.int32), np.frombuffer(codes, np.int64), np.frombuffer(weights, np.float32))


def history_inputs(
    keys: NDArray[np.int64], recent: NDArray[np.int32], times: NDArray[np.int64], now: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """History keys and ages as `Inputs` wants them; `keys` int64[slots] are the catalogue's embedding keys."""
    history, ages = np.empty(len(recent), dtype=np.int64), np.empty(len(recent), dtype=np.float32)
    _fill_history(keys, recent, times, now, history, ages)
    return history, ages


@njit(cache=True, nogil=True)
def _fill_history(
    keys: NDArray[np.int64],
    recent: NDArray[np.int32],
    times: NDArray[np.int64],
    now: int,
    history: NDArray[np.int64],
    ages: NDArray[np.float32],
) -> None:
    for place in range(recent.shape[0]):
        if recent[place] >= 0:
            history[place] = keys[recent[place]]
            ages[place] = math.log1p(max(0, now - times[place]) / HOUR_MS)
        else:
            history[place] = NO_KEY
            ages[place] = -1.0


@dataclass(frozen=True)
class Batch:
    """Several `Inputs` side by side: g requests, n candidates over all."""

    user_keys: NDArray[np.int64]
    context_keys: NDArray[np.int64]
    history_keys: NDArray[np.int64]
    history_ages: NDArray[np.float32]
    item_keys: NDArray[np.int64]
    dense: NDArray[np.float32]
    rates: NDArray[np.float32]
    owners: NDArray[np.int64]
    """int64[n]: the request of each candidate."""
    starts: NDArray[np.int64]
    """int64[g]: the first candidate of each request."""
    profile_counts: NDArray[np.int32] = field(default_factory=_NO_COUNTS.copy)
    """int32[g]: values of `profiles` that each request has; int32[0]: none has any."""
    profiles: Values = NO_VALUES
    """What is said of the users, one behind the other."""
    said_counts: NDArray[np.int32] = field(default_factory=_NO_COUNTS.copy)
    """int32[n]: values of `said` that each candidate has; int32[0]: none has any."""
    said: Values = NO_VALUES
    """What is said of the candidates, one behind the other."""

    @property
    def has_content(self) -> bool:
        """Whether anything is said of a user or a candidate."""
        return bool(len(self.profiles.codes) or len(self.said.codes))


def collate(inputs: list[Inputs]) -> Batch:
    """Put several requests into one batch."""
    sizes = np.array([len(one.item_keys) for one in inputs], dtype=np.int64)
    return Batch(
        user_keys=np.array([one.user_key for one in inputs], dtype=np.int64),
        context_keys=np.stack([one.context_keys for one in inputs]),
        history_keys=np.stack([one.history_keys for one in inputs]),
        history_ages=np.stack([one.history_ages for one in inputs]),
        item_keys=np.concatenate([one.item_keys for one in inputs]),
        dense=np.concatenate([one.dense for one in inputs]),
        rates=np.concatenate([one.rates for one in inputs]),
        owners=np.repeat(np.arange(len(inputs)), sizes),
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]),
        **_collated_content(inputs, sizes),
    )


def collate_encoded(encoded: Sequence[bytes], first_only: Sequence[bool], *, with_features: bool = True) -> Batch:
    """What `collate` makes of inputs that `to_bytes` wrote; some with their first candidate alone.

    Without features they are left out, and then some may have been written without; else all have them, or none.
    """
    wires: list[_OnWire] = [_DECODER.decode(one) for one in encoded]
    counts = [len(one.item_keys) // np.dtype(np.int64).itemsize for one in wires]
    if any(
        len(wire.dense) != count * _DENSE_BYTES or (first and count > 1)
        for wire, count, first in zip(wires, counts, first_only, strict=True)
    ):
        each = [Inputs.from_bytes(one) for one in encoded]
        each = [one if with_features else replace(one, dense=one.dense[:, :0]) for one in each]
        return collate([one.some([0]) if first else one for one, first in zip(each, first_only, strict=True)])
    g, sizes = len(wires), np.array(counts, dtype=np.int64)
    content: dict[str, Any] = {}
    if any(one.profile is not None or one.said is not None for one in wires):
        content = _collated_content([Inputs.from_bytes(one) for one in encoded], sizes)
    starts = np.zeros(g, dtype=np.int64)
    np.cumsum(sizes[:-1], out=starts[1:])
    return Batch(
        np.array([one.user_key for one in wires], dtype=np.int64),
        _written([one.context_keys for one in wires], np.int64).reshape(g, -1),
        _written([one.history_keys for one in wires], np.int64).reshape(g, -1),
        _written([one.history_ages for one in wires], np.float32).reshape(g, -1),
        _written([one.item_keys for one in wires], np.int64),
        _written([one.dense for one in wires], np.float32).reshape(-1, len(FEATURES))
        if with_features
        else np.empty((sum(counts), 0), dtype=np.float32),
        _written([one.rates for one in wires], np.float32),
        np.repeat(np.arange(g), sizes),
        starts,
        **content,
    )


def _written(parts: list[bytes], dtype: type[T]) -> NDArray[T]:
    # A bytearray may be written to: kernels are compiled for such arrays.
    return np.frombuffer(bytearray().join(parts), dtype)


def alone(one: Inputs) -> Batch:
    """One request as a batch, whose arrays are the request's own."""
    count = len(one.item_keys)
    return Batch(
        user_keys=np.array([one.user_key], dtype=np.int64),
        context_keys=one.context_keys[None],
        history_keys=one.history_keys[None],
        history_ages=one.history_ages[None],
        item_keys=one.item_keys,
        dense=one.dense,
        rates=one.rates,
        owners=np.zeros(count, dtype=np.int64),
        starts=np.zeros(1, dtype=np.int64),
        **_collated_content([one], np.array([count], dtype=np.int64)),
    )


def beside(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, in their order."""
    if len(batches) == 1:
        return batches[0]
    requests = np.cumsum([0, *(len(one.starts) for one in batches)])
    candidates = np.cumsum([0, *(len(one.item_keys) for one in batches)])
    found: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in batches]) for name in _JOINED}
    for counts, values, sizes in (("profile_counts", "profiles", requests), ("said_counts", "said", candidates)):
        if any(len(getattr(one, counts)) for one in batches):
            missing = [np.zeros(size, dtype=np.int32) for size in np.diff(sizes)]
            given = [getattr(one, counts) for one in batches]
            found[counts] = np.concatenate(
                [one if len(one) else none for one, none in zip(given, missing, strict=True)]
            )
            found[values] = _joined([getattr(one, values) for one in batches])
    return Batch(
        owners=np.concatenate([one.owners + first for one, first in zip(batches, requests, strict=False)]),
        starts=np.concatenate([one.starts + first for one, first in zip(batches, candidates, strict=False)]),
        **found,
    )


def _collated_content(inputs: list[Inputs], sizes: NDArray[np.int64]) -> dict[str, Any]:
    """The fields of a batch that say what is said of users and candidates."""
    found: dict[str, Any] = {}
    if any(len(one.profile.codes) for one in inputs):
        found["profile_counts"] = np.array([len(one.profile.codes) for one in inputs], dtype=np.int32)
        found["profiles"] = _joined([one.profile for one in inputs])
    if any(len(one.said.codes) for one in inputs):
        counts = [
            one.counts if len(one.counts) else np.zeros(size, dtype=np.int32)
            for one, size in zip(inputs, sizes.tolist(), strict=True)
        ]
        found["said_counts"], found["said"] = np.concatenate(counts), _joined([one.said for one in inputs])
    return found


def _joined(values: list[Values]) -> Values:
    return Values(*(np.concatenate(columns) for columns in zip(*values, strict=True)))
