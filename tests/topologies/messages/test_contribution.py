"""What a trainer learned as messages, and back: nothing is lost, and each part can be applied alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream_reco.embedding import RowDeltas
from stream_reco.train.exchange import ModelDeltas
from topologies.messages.contribution import BadContributionError, contributions_of, decode_contribution

RNG = np.random.default_rng(0)
OFFSETS = {"p.examples": {0: 12, 2: 5}, "p.events": {0: 40}}


def rows(name: str, count: int, width: int, gone: int = 0, *, default: bool = False) -> RowDeltas:
    return RowDeltas(
        name,
        np.sort(RNG.integers(-(2**62), 2**62, count)),
        RNG.normal(size=(count, width)).astype(np.float32),
        np.arange(gone, dtype=np.int64),
        RNG.normal(size=width if default else 0).astype(np.float32),
    )


def test_all_of_it_comes_back_in_parts_that_topics_take() -> None:
    tables = (rows("item", 30_000, 40, gone=3), rows("user", 2, 8, default=True), rows("context", 0, 4, gone=1))
    dense = {"weights.a": (1.0, np.ones((2, 3), np.float32)), "adam.0.step": (1.0, np.full((), 7, np.float32))}
    learned = ModelDeltas(160, 10, tables, dense)
    messages = list(contributions_of(1, 7, "digest", learned, OFFSETS))
    assert max(map(len, messages)) < 2 << 20
    read = [decode_contribution(one) for one in messages]
    assert {(one.trainer, one.epoch, one.model) for one in read} == {(1, 7, "digest")}
    assert [one.offsets for one in read] == [None] * (len(read) - 1) + [OFFSETS]
    assert (sum(one.examples for one in read), sum(one.steps for one in read)) == (160, 10)
    parts = [table for one in read for table in one.deltas().tables]
    for table in tables:
        mine = [part for part in parts if part.name == table.name]
        assert np.array_equal(np.concatenate([part.keys for part in mine]), table.keys)
        found = [part.deltas for part in mine if len(part.keys)]
        assert b"".join(part.tobytes() for part in found) == table.deltas.tobytes()
        assert np.array_equal(np.concatenate([part.gone for part in mine]), table.gone)
        assert np.array_equal(np.concatenate([part.default for part in mine]), table.default)
    back = read[-1].deltas().dense
    assert {name: kept for name, (kept, _) in back.items()} == {"weights.a": 1.0, "adam.0.step": 1.0}
    assert all(
        np.array_equal(back[name][1], added) and back[name][1].shape == added.shape
        for name, (_, added) in dense.items()
    )


def test_where_nothing_but_the_offsets_moved_there_is_one_message() -> None:
    (message,) = contributions_of(0, 1, "digest", ModelDeltas(0, 0, (rows("item", 0, 4),), {}), OFFSETS)
    assert decode_contribution(message).deltas().is_empty


@pytest.mark.parametrize("value", [b"", b"{}", msgspec.msgpack.encode({"trainer": 0})])
def test_what_is_no_contribution_is_named(value: bytes) -> None:
    with pytest.raises(BadContributionError, match="exchange of trainers cannot be read"):
        decode_contribution(value)


def test_torn_rows_are_named() -> None:
    (part, _) = contributions_of(3, 1, "digest", ModelDeltas(1, 1, (rows("item", 2, 4),), {}), OFFSETS)
    torn = msgspec.msgpack.decode(part)
    torn["rows"][0]["deltas"] = torn["rows"][0]["deltas"][:-3]
    with pytest.raises(BadContributionError, match="trainer 3 learned is torn"):
        decode_contribution(msgspec.msgpack.encode(torn)).deltas()
