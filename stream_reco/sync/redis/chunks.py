"""Large values in Redis: cut into chunks, each with a checksum of its own, read back whole or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from stream_reco.redis.connection import RedisLink
from stream_reco.sync.publication import BadPublication

CHUNK_BYTES = 4 * 1024 * 1024
_CHECKSUM_BYTES = 16
_UPLOAD_SECONDS = 600
"""Chunks of an upload that is not committed within this time expire."""


@dataclass(frozen=True)
class Blob:
    """What is needed to read a value back."""

    name: str
    chunks: int
    nbytes: int
    sums: bytes
    """xxh3_128 of each chunk, concatenated."""


def write_chunks(link: RedisLink, prefix: str, name: str, data: bytes, chunk_bytes: int) -> Blob:
    """Write the value's chunks under `<prefix><name>:<number>`; they expire in ten minutes unless extended."""
    sums = []
    for number, part in enumerate(_parts(data, chunk_bytes)):
        sums.append(xxhash.xxh3_128_digest(part))
        link.call("SET", f"{prefix}{name}:{number}", part, "EX", _UPLOAD_SECONDS)
    return Blob(name, len(sums), len(data), b"".join(sums))


def read_chunks(link: RedisLink, prefix: str, blob: Blob) -> bytes:
    """The value. Raises BadPublication "missing" where a chunk is gone, "checksum" where one is damaged."""
    parts = []
    for number in range(blob.chunks):
        part = link.call("GET", f"{prefix}{blob.name}:{number}")
        where = f"chunk {number} of {blob.chunks} of publication {blob.name}"
        if not isinstance(part, bytes):
            raise BadPublication("missing", f"{where} is not in Redis any more: it was trimmed, evicted or flushed")
        if xxhash.xxh3_128_digest(part) != blob.sums[number * _CHECKSUM_BYTES : (number + 1) * _CHECKSUM_BYTES]:
            raise BadPublication("checksum", f"{where} does not match its checksum: damaged on its way or in Redis")
        parts.append(part)
    return b"".join(parts)


def remove_chunks(link: RedisLink, prefix: str, name: str, count: int) -> None:
    """Delete chunks that `write_chunks` wrote, all or some of them."""
    for number in range(count):
        link.call("UNLINK", f"{prefix}{name}:{number}")


def count_chunks(nbytes: int, chunk_bytes: int) -> int:
    """Number of chunks of a value of `nbytes`."""
    return -(-nbytes // chunk_bytes)


def blob_of(fields: dict[bytes, bytes]) -> Blob:
    """The blob of an entry of the stream. Raises BadPublication "format" where the entry has none."""
    try:
        chunks, nbytes = int(fields[b"chunks"]), int(fields[b"bytes"])
        name, sums = fields[b"blob"].decode("ascii"), fields[b"sums"]
    except (KeyError, ValueError) as error:
        raise BadPublication("format", f"an entry of the stream is no publication: {error!r}") from None
    if chunks < 1 or len(sums) != chunks * _CHECKSUM_BYTES:
        raise BadPublication(
            "format", f"publication {name} has {chunks} chunks and {len(sums) // _CHECKSUM_BYTES} checksums"
        )
    return Blob(name, chunks, nbytes, sums)


def _parts(data: bytes, size: int) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[start : start + size] for start in range(0, len(data), size))
