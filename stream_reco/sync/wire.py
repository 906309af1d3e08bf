"""The wire form of a publication: format version, xxh3_128 checksum, then one safetensors block.

The arrays are the block's tensors; the rest is JSON in the block's metadata. Only what safetensors and msgspec can read
is ever read, so that untrusted bytes cannot run code.
"""

import math
import mmap
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
_LENGTH = 8
"""Bytes of the length of a safetensors header; headers are padded to a multiple of it, so that arrays lie aligned."""
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"I{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"u{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


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


class Tensor(msgspec.Struct, frozen=True):
    """Where one array lies, as safetensors writes it: bytes from the end of the header on."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def encode(publication: Publication) -> bytes:
    """The publication as bytes. Raises TypeError, naming the array, for a dtype that is not numeric."""
    return b"".join(pieces_of(publication))


def pieces_of(publication: Publication) -> list[bytes | memoryview]:
    """What `encode` joins: a head, then views into the publication's own arrays, so that a file needs no second copy.

    Raises TypeError as `encode` does. The arrays must not change until the pieces are written.
    """
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
    # Larger items first, as safetensors does it: then each array is aligned to its own items.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    block: dict[str, Any] = {"__metadata__": {"publication": msgspec.json.encode(header).decode()}}
    end = 0
    for name in order:
        array = arrays[name]
        start, end = end, end + array.nbytes
        block[name] = Tensor(_CODES[array.dtype], list(array.shape), (start, end))
    text = msgspec.json.encode(block)
    text += b" " * (-len(text) % _LENGTH)
    body: list[bytes | memoryview] = [len(text).to_bytes(_LENGTH, "little") + text]
    body += [arrays[name].reshape(-1).view(np.uint8).data for name in order]
    digest = xxhash.xxh3_128()
    for piece in body:
        digest.update(piece)
    return [_MAGIC + digest.digest(), *body]


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
        raise _not_understood(error) from error


def decode_mapped(data: mmap.mmap) -> Publication:
    """The publication in a mapped file (copy on write); its arrays look into the mapping, which lives as long as they.

    Raises BadPublication as `decode` does.
    """
    with memoryview(data) as view:
        _check(view)
        try:
            start = _HEAD + _LENGTH
            start += int.from_bytes(view[_HEAD:start], "little")
            block = msgspec.json.decode(view[_HEAD + _LENGTH : start], type=dict[str, msgspec.Raw])
            metadata = msgspec.json.decode(block.pop("__metadata__"), type=dict[str, Any])
            header = msgspec.json.decode(metadata["publication"], type=Header)
            places = {name: msgspec.json.decode(raw, type=Tensor) for name, raw in block.items()}
            return _assemble(header, {name: _mapped(data, start, tensor) for name, tensor in places.items()})
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
            raise _not_understood(error) from error


def _mapped(data: mmap.mmap, start: int, tensor: Tensor) -> NDArray[Any]:
    first, end = tensor.data_offsets
    dtype, count = _DTYPES[tensor.dtype], math.prod(tensor.shape)
    if min([first, *tensor.shape]) < 0 or end - first != count * dtype.itemsize or start + end > len(data):
        raise ValueError(f"an array of {tensor.shape} {tensor.dtype} is said to lie at {first} to {end}")
    # NumPy refuses an offset at the very end, even for no items.
    array = np.frombuffer(data, dtype, count, start + first) if count else np.empty(0, dtype)
    return array.reshape(tensor.shape)


def _not_understood(error: Exception) -> BadPublication:
    return BadPublication("schema", f"publication cannot be understood: {error}; is the trainer newer?")


def _verified(data: bytes) -> bytes:
    with memoryview(data) as view:
        _check(view)
    return data[_HEAD:]


def _check(data: memoryview) -> None:
    if len(data) < _HEAD or data[:4] != _NAME:
        raise BadPublication("format", f"{len(data)} bytes beginning {bytes(data[:8])!r} are not a publication")
    found = int.from_bytes(data[4:8], "little")
    if found not in (_OLDER, FORMAT):
        raise BadPublication(
            "format",
            f"publication has format {found}, this release reads {_OLDER} and {FORMAT}: run trainer and scorers of one"
            " release",
        )
    if xxhash.xxh3_128_digest(data[_HEAD:]) != data[len(_MAGIC) : _HEAD]:
        raise BadPublication(
            "checksum", f"publication of {len(data)} bytes does not match its checksum: damaged on its way"
        )


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
