"""A user's state as it travels: written by the process that takes in the user's actions, read by scorers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.interests import InterestSettings, Medoids
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.shown_items import ShownItems

FORMAT = 1


class BadUserStateError(ValueError):
    """Bytes that are no user state, or one of another release."""


class _StateOnWire(msgspec.Struct, frozen=True, array_like=True):
    format: int
    at: int
    items: bytes
    times: bytes
    keys: bytes
    importance: bytes
    last: bytes
    written: int = 0
    shown: bytes = b""
    shown_counts: bytes = b""
    shown_times: bytes = b""
    disliked: bytes = b""
    profile: dict[str, Any] = {}
    """Writers up to version 0.2.0 leave all from `shown` on out, and readers pass them over."""


_NOTHING: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class UserState:
    """The remembered positive actions of a user, the interests as of `at` (ms), dislikes, and the profile.

    Items are identified by their keys in the embedding table, which are the same in every process, unlike slots.
    """

    items: NDArray[np.int64]
    """int64[n]: item keys of the actions, newest first."""
    times: NDArray[np.int64]
    """int64[n], ms."""
    medoids: Medoids
    """Keys int64[m], importance float64[m] as of `at`, last times int64[m] (ms)."""
    at: int
    written: int = 0
    """Number of the write, about its time in ms: of two states of a user the higher is the newer; 0 where unknown."""
    shown: ShownItems = field(default_factory=ShownItems)
    """What was shown and passed over, by item keys; releases before 0.3.0 do not write it."""
    disliked: NDArray[np.int64] = field(default_factory=_NOTHING.copy)
    """int64[d]: item keys of the negative actions, newest first."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What is said of the user, by feature, in the order in which they were stated first."""

    def __post_init__(self) -> None:
        lengths = len(self.items), len(self.times), *(len(column) for column in self.medoids)
        if lengths[0] != lengths[1] or len(set(lengths[2:])) > 1:
            raise BadUserStateError(f"user state of lengths {lengths}: items and times, and all of the medoids, match")

    def interests(self, now: int, settings: InterestSettings, active: ActiveTime | None = None) -> Medoids:
        """The interests as of `now` (ms), as `Interests.medoids` would have them had nothing come since.

        `active` says what is too old; all of stream time counts without it.
        """
        keys, importance, last = self.medoids
        live = last >= (active or ActiveTime()).earliest(now, settings.horizon_ms)
        faded = importance[live] * np.exp(-settings.decay_per_ms * (now - self.at))
        return Medoids(keys[live], faded, last[live])

    def to_bytes(self, written: int = 0) -> bytes:
        """MessagePack, in the write of this number; the arrays are little-endian."""
        keys, importance, last = self.medoids
        return msgspec.msgpack.encode(
            _StateOnWire(
                FORMAT,
                self.at,
                _plain(self.items, "<i8"),
                _plain(self.times, "<i8"),
                _plain(keys, "<i8"),
                _plain(importance, "<f8"),
                _plain(last, "<i8"),
                written,
                *self.shown.to_bytes(),
                _plain(self.disliked, "<i8"),
                dict(self.profile),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> UserState:
        """The state that `to_bytes` gave. Raises BadUserStateError for anything else."""
        try:
            wire = msgspec.msgpack.decode(data, type=_StateOnWire)
            if wire.format != FORMAT:
                raise BadUserStateError(
                    f"user state has format {wire.format}, this release reads {FORMAT}: run one release everywhere"
                )
            medoids = Medoids(_int64(wire.keys), np.frombuffer(wire.importance, "<f8"), _int64(wire.last))
            items, times, disliked = map(_int64, (wire.items, wire.times, wire.disliked))
            shown = ShownItems.from_bytes(wire.shown, wire.shown_counts, wire.shown_times)
            return cls(items, times, medoids, wire.at, wire.written, shown, disliked, wire.profile)
        except BadUserStateError:
            raise
        except (msgspec.MsgspecError, ValueError) as error:
            raise BadUserStateError(f"{len(data)} bytes are no user state: {error}") from error


def _plain(array: NDArray[np.int64] | NDArray[np.float64], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def _int64(data: bytes) -> NDArray[np.int64]:
    return np.frombuffer(data, "<i8")
