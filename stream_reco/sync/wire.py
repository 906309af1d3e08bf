"""The wire form of a publication: format version, xxh3_128 checksum, then one safetensors block.

The arrays are the block's tensors; the rest is JSON in the block's metadata. Only what safetensors and msgspec can read
is ever read, so that untrusted bytes cannot run code.
"""

from typing import Any

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as tensors

from stream_reco.embedding import Delta
from stream_reco.sync.publication import FOLLOWED, BadPublication, Parts, Publication, arrays_of

FORMAT = 2
_OLDER = 1
"""Up to version 0.2.0; what reads its parts knows them by their names."""
_NAME = b"SRPB"
_MAGIC = _NAME + FORMAT.to_bytes(4, "little")
_HEAD = len(_MAGIC) + 16


class Table(msgspec.Struct, frozen=True):
    """One table of it."""

    name: str
    dim: int
    default: bool


class Header(msgspec.Struct, frozen=True):
    """What a publication is, without its arrays; fields that a release does not know are ignored."""

    model: str
    epoch: int
    version: int
    base_version: int
    watermark: int
    created: int
    tables: list[Table]
    examples: int | None = None
    """Releases before this field neither write nor mind it."""
    settings: str | None = None
    """Likewise."""
    shift: float = 0.0
    """Likewise."""


def encode(publication: Publication) -> bytes:
    """The publication as bytes. Raises TypeError, naming the array, for a dtype that is not numeric."""
    header = Header(
        model=publication.model,
        epoch=publication.epoch,
        version=publication.version,
        base_version=publication.base_version,
        watermark=publication.watermark,
        created=publication.created,
        tables=[Table(delta.name, delta.dim, delta.default is not None) for delta in publication.tables],
        examples=publication.examples,
        settings=publication.settings,
        shift=publication.shift,
    )
    arrays = {name: _plain(name, array) for name, array in arrays_of(publication).items()}
    body = tensors.save(arrays, metadata={"publication": msgspec.json.encode(header).decode()})
    return b"".join((_MAGIC, xxhash.xxh3_128_digest(body), body))


def decode(data: bytes) -> Publication:
    """The publication in `data`; its arrays are writable and its own.

    Raises BadPublication with reason "format" (not a publication, or one of another format version), "checksum"
    (damaged on its way) or "schema" (undamaged, but not a publication that this release understands).
    """
    body = _verified(data)
    try:
        arrays = {name: array if array.flags.writeable else array.copy() for name, array in tensors.load(body).items()}
        length = int.from_bytes(body[:8], "little")
        metadata = msgspec.json.decode(body[8 : 8 + length], type=dict[str, Any])["__metadata__"]
        header = msgspec.json.decode(metadata["publication"], type=Header)
        return _assemble(header, arrays)
    except (SafetensorError, msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise BadPublication("schema", f"publication cannot be understood: {error}; is the trainer newer?") from error


def _verified(data: bytes) -> bytes:
    if len(data) < _HEAD or data[:4] != _NAME:
        raise BadPublication("format", f"{len(data)} bytes beginning {data[:8]!r} are not a publication")
    found = int.from_bytes(data[4:8], "little")
    if found not in (_OLDER, FORMAT):
        raise BadPublication(
            "format",
            f"publication has format {found}, this release reads {_OLDER} and {FORMAT}: run trainer and scorers of one"
            " release",
        )
    body = data[_HEAD:]
    if xxhash.xxh3_128_digest(body) != data[len(_MAGIC) : _HEAD]:
        raise BadPublication(
            "checksum", f"publication of {len(data)} bytes does not match its checksum: damaged on its way"
        )
    return body


def _assemble(header: Header, arrays: Parts) -> Publication:
    tables = tuple(
        Delta(
            name=table.name,
            dim=table.dim,
            keys=arrays[f"tables/{number}/keys"],
            vectors=arrays[f"tables/{number}/vectors"],
            tombstones=arrays[f"tables/{number}/tombstones"],
            default=arrays[f"tables/{number}/default"] if table.default else None,
        )
        for number, table in enumerate(header.tables)
    )
    parts: dict[str, Parts] = {place: {} for place in FOLLOWED}
    for name, array in arrays.items():
        place, _, rest = name.partition("/")
        if place != "tables":
            parts[place][rest] = array
    return Publication(
        model=header.model,
        epoch=header.epoch,
        version=header.version,
        base_version=header.base_version,
        tables=tables,
        **parts,
        watermark=header.watermark,
        created=header.created,
        examples=header.examples,
        settings=header.settings,
        shift=header.shift,
    )


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    # safetensors takes the memory as it lies: strides and byte order must be the plain ones or the numbers change.
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"array {name!r} has dtype {array.dtype}: only bool, integers and floats travel; texts as uint8"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
