"""What the model reads of one request and its candidates, and how it travels with an example."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import FEATURES, FIRST_FEATURES
from stream_reco.signals.settings import CONTEXT_FIELDS, HOUR_MS, RECENT

NO_KEY = np.int64(0)
"""Stands where there is no key; its use is masked."""
NO_CANDIDATES = (
    np.empty(0, dtype=np.int64),
    np.empty((0, len(FEATURES)), dtype=np.float32),
    np.empty(0, dtype=np.float32),
)
"""`item_keys`, `dense` and `rates` of a request whose candidates are not known yet."""


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

    def to_bytes(self) -> bytes:
        """A compact form that `from_bytes` reads."""
        return msgspec.msgpack.encode(
            (
                self.user_key,
                self.context_keys.tobytes(),
                self.history_keys.tobytes(),
                self.history_ages.tobytes(),
                self.item_keys.tobytes(),
                self.dense.tobytes(),
                self.rates.tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Inputs:
        """The inputs that `to_bytes` wrote; their arrays are read-only.

        Features that joined after the release that wrote them are 0: nothing was known of them.
        """
        user, context, history, ages, items, dense, rates = _DECODER.decode(data)
        return cls(
            user,
            np.frombuffer(context, np.int64),
            np.frombuffer(history, np.int64),
            np.frombuffer(ages, np.float32),
            np.frombuffer(items, np.int64),
            _of_this_release(np.frombuffer(dense, np.float32).reshape(len(items) // 8, -1))
            if items
            else NO_CANDIDATES[1],
            np.frombuffer(rates, np.float32),
        )

    def fits_this_release(self) -> bool:
        """Whether every part has the length that models of this release read."""
        parts = self.context_keys, self.history_keys, self.history_ages, self.dense, self.rates
        n = len(self.item_keys)
        if self.dense.shape[1] not in (0, len(FEATURES)):
            return False
        return n > 0 and [len(part) for part in parts] == [CONTEXT_FIELDS, RECENT, RECENT, n, n]


def _of_this_release(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of an earlier release, which had fewer, filled up with zeros; others as they are."""
    if not len(FIRST_FEATURES) <= dense.shape[1] < len(FEATURES):
        return dense
    return np.pad(dense, ((0, 0), (0, len(FEATURES) - dense.shape[1])))


_DECODER = msgspec.msgpack.Decoder(tuple[int, bytes, bytes, bytes, bytes, bytes, bytes])


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
    )
