"""A channel over Redis: one trainer's publications in a stream, their bytes in chunks under keys of their own."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stream_reco import metrics
from stream_reco.redis.connection import Argument, RedisFailure, RedisLink, RedisRefused
from stream_reco.sync.channel import ChannelRefused, ChannelUnreachable, Delivery
from stream_reco.sync.publication import BadPublication, Publication
from stream_reco.sync.redis.chunks import (
    CHUNK_BYTES,
    Blob,
    blob_of,
    count_chunks,
    read_chunks,
    remove_chunks,
    write_chunks,
)
from stream_reco.sync.redis.scripts import BEGIN, COMMIT, LEAVE, READ, STATE
from stream_reco.sync.wire import decode, encode

_LOGGER = logging.getLogger(__name__)
_RENEWALS = 3
"""A reader's position expires after `reader_seconds`; it is renewed this many times within them, changed or not."""
_CHUNK_TTL_SECONDS = 7 * 86_400
"""Chunks expire, so that none is left for ever where the stream itself was deleted or evicted."""
_READ_BYTES = 64 * 1024 * 1024
"""One `read` stops once its publications exceed this size."""


@dataclass(frozen=True)
class Bounds:
    """Limits of a channel, whatever its readers do; the newest publication always stays."""

    publications: int = 1_000
    nbytes: int = 1 << 30
    chunk: int = CHUNK_BYTES
    """Largest value in Redis, bytes."""
    reader_seconds: float = 60.0
    """A replica that has not read for longer is no longer waited for."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"channel bound {name} is {value}: must be above 0")


class RedisChannel:
    """A Channel over Redis 6.2 or newer, for one trainer and any number of replicas on any machines.

    A publication's id in the stream is its epoch and version, so that Redis itself refuses one that is older than the
    newest, and a cursor stays valid when the stream is lost and started again. Publications that every registered
    replica has read are deleted at the next `send`; a replica that falls behind the bounds sees a gap. Redis holds
    nothing that cannot be published again: once it has lost what this channel sent, `snapshot_wanted` is true.
    """

    def __init__(
        self, link: RedisLink, prefix: str = "stream-reco", *, reader: str = "", bounds: Bounds | None = None
    ) -> None:
        """`reader` registers a replica under this name by its first `read`; two replicas must not share one."""
        self._link = link
        self._reader = reader
        self._bounds = bounds or Bounds()
        tag = f"{{{prefix}}}"
        self._stream, self._wanted, self._counter = f"{tag}:publications", f"{tag}:wanted", f"{tag}:blobs"
        self._replicas, self._positions, self._chunks = f"{tag}:replicas", f"{tag}:replica:", f"{tag}:chunk:"
        self._sent: bytes | None = None
        self._renewed: tuple[str, float] = ("", float("-inf"))

    def send(self, publication: Publication) -> None:
        """Send the whole publication, or raise ChannelRefused or ChannelUnreachable.

        It is also refused where Redis has one of a later epoch: another trainer has taken over.
        """
        try:
            data = encode(publication)
            blob = self._upload(publication, data)
        except (TypeError, RedisFailure) as error:
            raise ChannelRefused(f"{_named(publication)} was not sent: {error}") from error
        number = f"{publication.epoch}-{publication.version}"
        try:
            kept = self._script(
                COMMIT,
                (self._stream, self._wanted, self._replicas),
                (number, *self._commit_arguments(publication, blob)),
            )
        except RedisRefused as error:
            self._remove(blob.name, blob.chunks)
            raise ChannelRefused(f"{_named(publication)} was not taken: {error}") from error
        except RedisFailure as error:
            raise ChannelUnreachable(f"whether {_named(publication)} was taken is unknown: {error}") from error
        self._sent = number.encode()
        for gauge, value in zip(_GAUGES, kept, strict=True):
            gauge.set(value)

    def _upload(self, publication: Publication, data: bytes) -> Blob:
        last, count = self._script(BEGIN, (self._stream, self._counter))
        if last and _epoch_and_version(last) >= (publication.epoch, publication.version):
            raise ChannelRefused(
                f"{_named(publication)} is not above {last.decode()}, which Redis has had: a trainer of a later epoch"
                f" has taken over. If its state was deleted on purpose, delete {self._stream!r} too"
            )
        name, size = f"{publication.epoch}.{publication.version}.{count}", self._bounds.chunk
        try:
            return write_chunks(self._link, self._chunks, name, data, size)
        except RedisFailure:
            self._remove(name, count_chunks(len(data), size))
            raise

    def _commit_arguments(self, publication: Publication, blob: Blob) -> tuple[Argument, ...]:
        return (
            self._chunks,
            self._positions,
            blob.name,
            blob.chunks,
            blob.nbytes,
            publication.base_version,
            publication.model,
            blob.sums,
            self._bounds.publications,
            self._bounds.nbytes,
            _CHUNK_TTL_SECONDS,
        )

    def _remove(self, name: str, count: int) -> None:
        # Chunks that remain expire by themselves.
        with suppress(RedisFailure):
            remove_chunks(self._link, self._chunks, name, count)

    def read(self, after: str, limit: int) -> list[Delivery]:
        """At most `limit` entries after the cursor `after`, and no more than about 64 MiB beyond the first.

        Raises ChannelUnreachable where nothing could be read.
        """
        found: list[Delivery] = []
        taken = 0
        try:
            for number, content in self._entries(after or "0-0", limit):
                publication, nbytes = self._publication(number, content)
                if isinstance(publication, BadPublication):
                    if not self._is_kept(number):
                        continue  # it was trimmed while it was read: a gap, no damage
                    _LOGGER.warning("publication %s cannot be used: %s", number.decode(), publication)
                found.append(Delivery(number.decode(), publication))
                taken += nbytes
                if taken > _READ_BYTES:
                    break
        except RedisFailure as error:
            if not found:
                raise ChannelUnreachable(f"publications cannot be read: {error}") from error
        return found

    def _entries(self, after: str, limit: int) -> list[tuple[bytes, list[bytes]]]:
        now = time.monotonic()
        position, renewed_at = self._renewed
        ttl = self._bounds.reader_seconds
        renews = bool(self._reader) and (position != after or now - renewed_at > ttl / _RENEWALS)
        keys = (self._stream, self._replicas, self._positions + self._reader)
        entries: list[tuple[bytes, list[bytes]]] = self._script(
            READ, keys, (self._reader, int(renews), after, round(ttl * 1000), limit)
        )
        if renews:
            self._renewed = (after, now)
        return entries

    def _publication(self, number: bytes, content: list[bytes]) -> tuple[Publication | BadPublication, int]:
        """The publication of an entry of the stream, and its size in bytes."""
        try:
            blob = blob_of(dict(zip(content[::2], content[1::2], strict=False)))
            data = read_chunks(self._link, self._chunks, blob)
            publication = decode(data)
            if (publication.epoch, publication.version) != _epoch_and_version(number):
                raise BadPublication("format", f"entry {number.decode()} holds {_named(publication)}")
        except BadPublication as error:
            return error, 0
        return publication, len(data)

    def _is_kept(self, number: bytes) -> bool:
        return bool(self._link.call("XRANGE", self._stream, number, number))

    def ask_for_snapshot(self) -> None:
        """Make `snapshot_wanted` true until the next snapshot is sent. Raises ChannelUnreachable."""
        try:
            self._link.call("SET", self._wanted, 1)
        except RedisFailure as error:
            raise ChannelUnreachable(f"no snapshot could be asked for: {error}") from error

    def snapshot_wanted(self) -> bool:
        """Whether some replica has asked since the last snapshot, or Redis has lost what was sent last.

        Raises ChannelUnreachable.
        """
        try:
            wanted, last = self._script(STATE, (self._stream, self._wanted))
        except RedisFailure as error:
            raise ChannelUnreachable(f"whether a snapshot is wanted is unknown: {error}") from error
        return bool(wanted) or (self._sent is not None and last != self._sent)

    def leave(self) -> None:
        """Deregister the reader, if Redis can be reached."""
        with suppress(RedisFailure):
            self._script(LEAVE, (self._replicas, self._positions + self._reader), (self._reader,))
        self._renewed = ("", float("-inf"))

    def _script(self, script: str, keys: tuple[str, ...], arguments: tuple[Argument, ...] = ()) -> list[Any]:
        answer: list[Any] = self._link.call("EVAL", script, len(keys), *keys, *arguments)
        return answer


_GAUGES = (
    metrics.CHANNEL_PUBLICATIONS,
    metrics.CHANNEL_BYTES,
    metrics.CHANNEL_REPLICAS,
    metrics.CHANNEL_UNREAD,
)


def _named(publication: Publication) -> str:
    kind = "snapshot" if publication.snapshot else "delta"
    return f"{kind} {publication.version} of epoch {publication.epoch} of model {publication.model!r}"


def _epoch_and_version(number: bytes) -> tuple[int, int]:
    epoch, _, version = number.partition(b"-")
    return int(epoch), int(version)
