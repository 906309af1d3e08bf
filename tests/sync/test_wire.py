"""What is encoded comes back bit for bit; anything else is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors import numpy as tensors

from stream_reco.embedding import Delta
from stream_reco.sync import BadPublication, Publication, decode, encode
from stream_reco.sync.publication import arrays_of
from tests.sync.same_publication import same

if TYPE_CHECKING:
    from tests.sync.conftest import Toy

DTYPES: list[Any] = [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
DTYPES += [np.float16, np.float32, np.float64]
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable())
PARTS = st.dictionaries(
    NAMES,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)
INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def deltas(draw: st.DrawFn, name: str) -> Delta:
    dim, n = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    keys = np.array(draw(st.lists(INT64, min_size=n, max_size=n)), np.int64)
    tombstones = np.array(draw(st.lists(INT64, max_size=3)), np.int64)
    default = draw(st.none() | arrays.arrays(np.float32, (dim,)))
    return Delta(name, dim, keys, draw(arrays.arrays(np.float32, (n, dim))), tombstones, default)


@st.composite
def publications(draw: st.DrawFn) -> Publication:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    version = draw(st.integers(1, 2**53))
    return Publication(
        model=draw(st.text(max_size=9)),
        epoch=draw(st.integers(1, 2**53)),
        version=version,
        base_version=draw(st.sampled_from([0, version - 1])),
        tables=tuple(draw(deltas(name)) for name in names),
        dense=draw(PARTS),
        signals=draw(PARTS),
        catalogue=draw(PARTS),
        watermark=draw(INT64),
        created=draw(INT64),
        examples=draw(st.none() | st.integers(0, 2**53)),
    )


@given(publications())
def test_round_trip_is_exact_and_owns_its_arrays(publication: Publication) -> None:
    back = decode(encode(publication))
    assert same(back, publication)
    assert encode(back) == encode(publication)
    assert all(array.flags.writeable for array in arrays_of(back).values())


@pytest.mark.parametrize(
    "array",
    [np.arange(12).reshape(3, 4).T, np.arange(12)[::-3], np.arange(4, dtype=">i4"), np.array(5), np.zeros((0, 3))],
    ids=["transposed", "strided", "big endian", "no dimension", "empty"],
)
def test_numbers_survive_any_layout_of_memory(toy: Toy, array: NDArray[Any]) -> None:
    back = decode(encode(toy.publication(1, 0, signals={"x": array}))).signals["x"]
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(1, complex)])
def test_only_numbers_travel(toy: Toy, array: NDArray[Any]) -> None:
    with pytest.raises(TypeError, match=r"'signals/x' has dtype"):
        encode(toy.publication(1, 0, signals={"x": array}))


def test_every_damaged_byte_and_every_cut_is_seen(toy: Toy) -> None:
    data = encode(toy.publication(2, 1))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(BadPublication) as caught:
            decode(bytes(damaged))
        assert caught.value.reason == ("format" if place < 8 else "checksum")
    for length in range(len(data)):
        with pytest.raises(BadPublication):
            decode(data[:length])
    with pytest.raises(BadPublication, match="checksum"):
        decode(data + b"x")


@given(st.binary(max_size=300))
def test_bytes_of_a_stranger_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(BadPublication):
        decode(data)
    with pytest.raises(BadPublication) as caught:
        decode(b"SRPB\x01\0\0\0" + xxhash.xxh3_128_digest(data) + data)
    assert caught.value.reason == "schema"


def test_another_format_version_says_what_to_do(toy: Toy) -> None:
    data = bytearray(encode(toy.publication(1, 0)))
    data[4] = 9
    with pytest.raises(BadPublication, match="format 9, this release reads 1 and 2: run trainer and scorers"):
        decode(bytes(data))
    data[4] = 1  # of version 0.2.0 and earlier
    assert decode(bytes(data)).version == 1


def with_header(data: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """The same publication with another header, as another release might write it."""
    body = data[24:]
    length = int.from_bytes(body[:8], "little")
    metadata = json.loads(body[8 : 8 + length])["__metadata__"]
    header = json.dumps(change(json.loads(metadata["publication"])))
    other = tensors.save(tensors.load(body), metadata={"publication": header})
    return data[:8] + xxhash.xxh3_128_digest(other) + other


def test_releases_that_differ_in_fields_understand_each_other(toy: Toy) -> None:
    data = encode(toy.publication(1, 0, examples=70))
    older = with_header(data, lambda head: {name: value for name, value in head.items() if name != "examples"})
    assert decode(older).examples is None
    assert same(replace(decode(older), examples=70), decode(data))
    assert same(decode(with_header(data, lambda head: head | {"of_tomorrow": [1]})), decode(data))


@pytest.mark.parametrize(("version", "base", "epoch"), [(0, 0, 1), (3, 1, 1), (3, 3, 1), (-1, -2, 1), (2, 1, 0)])
def test_numbers_that_follow_from_nothing_are_no_publication(toy: Toy, version: int, base: int, epoch: int) -> None:
    with pytest.raises(ValueError, match="begin at 1"):
        toy.publication(version, base, epoch=epoch)


def test_a_table_is_named_once(toy: Toy) -> None:
    delta = toy.publication(1, 0).tables[0]
    with pytest.raises(ValueError, match="names a table twice"):
        toy.publication(1, 0, tables=(delta, delta))
