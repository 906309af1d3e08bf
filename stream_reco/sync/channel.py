"""How publications travel from one trainer to its replicas, and how a replica asks for a snapshot."""

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from stream_reco.embedding import Delta
from stream_reco.sync.publication import BadPublication, Parts, Publication

_Array = TypeVar("_Array", bound=NDArray[Any])


class ChannelUnreachable(RuntimeError):  # noqa: N818 - named for what is the case
    """The channel cannot be reached now; whether a publication under way was taken is unknown."""


class ChannelRefused(RuntimeError):  # noqa: N818 - named for what is the case
    """The channel did certainly not take the publication; its version number is free again."""


@dataclass(frozen=True)
class Delivery:
    """One entry of a channel: a publication, or why its bytes are none. `cursor` continues after it."""

    cursor: str
    publication: Publication | BadPublication


class Channel(Protocol):
    """Carries publications in the order they were sent. It may lose old ones (readers see a gap), never reorder.

    It is safe to use from several threads: one publisher, any number of readers.
    """

    def send(self, publication: Publication) -> None:
        """Take the publication whole, or raise ChannelRefused or ChannelUnreachable.

        Taking a snapshot fulfils what replicas asked for up to then.
        """

    def read(self, after: str, limit: int) -> list[Delivery]:
        """At most `limit` entries that follow the cursor `after`, oldest first; "" is the beginning of what is kept."""

    def ask_for_snapshot(self) -> None:
        """Let `snapshot_wanted` be true until the next snapshot is taken; asking twice is asking once."""

    def snapshot_wanted(self) -> bool:
        """Whether some replica has asked since the last snapshot."""


class InProcessChannel:
    """A Channel within one process: shares the objects, encodes nothing, keeps the newest `capacity` publications.

    A snapshot frees all that came before it, since no reader needs that any more. Readers that fall behind further
    than `capacity` see a gap.
    """

    def __init__(self, capacity: int = 8, *, for_one_reader: bool = False) -> None:
        """With `for_one_reader` what was read is let go when it asks for what comes after."""
        if capacity < 1:
            raise ValueError(f"channel capacity is {capacity}: must be at least 1")
        self._kept: deque[tuple[int, Publication]] = deque(maxlen=capacity)
        self._for_one_reader = for_one_reader
        self._sent = 0
        self._wanted = False
        self._lock = threading.Lock()

    def send(self, publication: Publication) -> None:
        publication = _owned(publication)
        with self._lock:
            if publication.snapshot:
                self._kept.clear()
                self._wanted = False
            self._sent += 1
            self._kept.append((self._sent, publication))

    def read(self, after: str, limit: int) -> list[Delivery]:
        start = int(after) if after else 0
        with self._lock:
            newer = [(number, publication) for number, publication in self._kept if number > start]
            if self._for_one_reader:
                self._kept = deque(newer, maxlen=self._kept.maxlen)
        return [Delivery(str(number), publication) for number, publication in newer[:limit]]

    def ask_for_snapshot(self) -> None:
        with self._lock:
            self._wanted = True

    def snapshot_wanted(self) -> bool:
        with self._lock:
            return self._wanted


def _owned(publication: Publication) -> Publication:
    """The same publication without views: an array that looks into a live model would change under its readers."""
    return replace(
        publication,
        tables=tuple(_owned_delta(delta) for delta in publication.tables),
        dense=_owned_parts(publication.dense),
        signals=_owned_parts(publication.signals),
        catalogue=_owned_parts(publication.catalogue),
    )


def _owned_parts(parts: Parts) -> Parts:
    return {name: _own(array) for name, array in parts.items()}


def _owned_delta(delta: Delta) -> Delta:
    return replace(
        delta,
        keys=_own(delta.keys),
        vectors=_own(delta.vectors),
        tombstones=_own(delta.tombstones),
        default=None if delta.default is None else _own(delta.default),
    )


def _own(array: _Array) -> _Array:
    # What looks into bytes looks at what nobody can change.
    return array if array.flags.owndata or isinstance(array.base, bytes) else array.copy()
