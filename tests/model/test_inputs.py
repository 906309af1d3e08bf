"""What the model reads: it survives its journey, and batches hold each request's own."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.model.features.names import FEATURES, FIRST_FEATURES
from stream_reco.model.inputs import Batch, Inputs, alone, beside, collate, collate_encoded, history_inputs
from stream_reco.signals.content.values import NO_VALUES, Values
from stream_reco.signals.settings import CONTEXT_FIELDS, HOUR_MS, RECENT

INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def some_inputs(draw: st.DrawFn) -> Inputs:
    n = draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bounds = np.iinfo(np.int64)
    counts = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    said = sum(counts)
    return Inputs(
        draw(INT64),
        rng.integers(bounds.min, bounds.max, CONTEXT_FIELDS, endpoint=True),
        rng.integers(bounds.min, bounds.max, RECENT, endpoint=True),
        rng.normal(size=RECENT).astype(np.float32),
        rng.integers(bounds.min, bounds.max, n, endpoint=True),
        rng.normal(size=(n, len(FEATURES))).astype(np.float32),
        rng.random(n).astype(np.float32),
        some_values(rng, draw(st.integers(0, 4))),
        np.array(counts if said else [], dtype=np.int32),
        some_values(rng, said),
    )


def some_values(rng: np.random.Generator, count: int) -> Values:
    """As many values of features."""
    fields, codes = rng.integers(-9, 9, count), rng.integers(-(2**63), 2**63 - 1, count)
    return Values(fields.astype(np.int32), codes, rng.normal(size=count).astype(np.float32))


def same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray):
        assert isinstance(right, np.ndarray)
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    if isinstance(left, Values):
        assert isinstance(right, Values)
        return all(same(one, other) for one, other in zip(left, right, strict=True))
    return left == right


@settings(deadline=None)
@given(some_inputs())
def test_inputs_survive_their_bytes(inputs: Inputs) -> None:
    back = Inputs.from_bytes(inputs.to_bytes())
    for field in fields(Inputs):
        assert same(getattr(back, field.name), getattr(inputs, field.name)), field.name


@settings(deadline=None)
@given(some_inputs())
def test_inputs_of_releases_that_read_no_content_have_none(inputs: Inputs) -> None:
    bare = replace(inputs, profile=NO_VALUES, counts=inputs.counts[:0], said=NO_VALUES)
    written = msgspec.msgpack.decode(bare.to_bytes())
    assert len(written) == 7, "an earlier release refuses more"
    assert written == msgspec.msgpack.decode(inputs.to_bytes())[:7]
    back = Inputs.from_bytes(msgspec.msgpack.encode(written))
    for field in fields(Inputs):
        assert same(getattr(back, field.name), getattr(bare, field.name)), field.name
    assert back.fits_this_release() == bool(len(inputs.item_keys))


def damaged(inputs: Inputs) -> list[Inputs]:
    """The same with content that is not as long as it says."""
    shorter = inputs.said._replace(weights=inputs.said.weights[1:])
    less_than_none = np.array([-1, 3], dtype=np.int32)
    return [
        replace(inputs, said=shorter),
        replace(inputs, profile=inputs.profile._replace(fields=inputs.profile.fields[1:])),
        replace(inputs, counts=inputs.counts[:1]),
        replace(inputs, counts=inputs.counts + 1),
        replace(inputs, counts=less_than_none),
    ]


def test_content_that_is_not_as_long_as_it_says_does_not_fit() -> None:
    rng = np.random.default_rng(0)
    whole = Inputs(
        1,
        np.zeros(CONTEXT_FIELDS, dtype=np.int64),
        np.zeros(RECENT, dtype=np.int64),
        np.full(RECENT, -1, dtype=np.float32),
        np.array([1, 2]),
        np.zeros((2, len(FEATURES)), dtype=np.float32),
        np.ones(2, dtype=np.float32),
        some_values(rng, 2),
        np.array([1, 1], dtype=np.int32),
        some_values(rng, 2),
    )
    assert Inputs.from_bytes(whole.to_bytes()).fits_this_release()
    for one in damaged(whole):
        assert not Inputs.from_bytes(one.to_bytes()).fits_this_release()


@settings(deadline=None)
@given(some_inputs())
def test_features_of_earlier_releases_are_filled_up(inputs: Inputs) -> None:
    known = len(FIRST_FEATURES)
    back = Inputs.from_bytes(replace(inputs, dense=inputs.dense[:, :known]).to_bytes())
    assert back.dense.shape == inputs.dense.shape
    assert same(back.dense[:, :known].copy(), inputs.dense[:, :known].copy())
    assert not back.dense[:, known:].any()
    assert back.fits_this_release() == bool(len(inputs.item_keys))
    # Any other number of features is that of no release.
    if len(inputs.item_keys):
        assert not Inputs.from_bytes(replace(inputs, dense=inputs.dense[:, 1:known]).to_bytes()).fits_this_release()


@settings(deadline=None)
@given(st.lists(some_inputs(), min_size=1, max_size=5))
def test_a_batch_holds_each_requests_own(requests: list[Inputs]) -> None:
    batch = collate(requests)
    assert batch.user_keys.tolist() == [one.user_key for one in requests]
    for place, one in enumerate(requests):
        mine = batch.owners == place
        assert same(batch.item_keys[mine], one.item_keys)
        assert same(batch.dense[mine], one.dense)
        assert same(batch.rates[mine], one.rates)
        assert same(batch.history_keys[place], one.history_keys)
        assert same(batch.history_ages[place], one.history_ages)
        assert same(batch.context_keys[place], one.context_keys)
        if len(one.item_keys):
            assert batch.owners[batch.starts[place]] == place
            assert batch.item_keys[batch.starts[place]] == one.item_keys[0]


def test_a_history_behind_its_last_action_is_marked() -> None:
    keys = np.array([-5, 7, 0], dtype=np.int64)
    recent = np.full(RECENT, -1, dtype=np.int32)
    times = np.zeros(RECENT, dtype=np.int64)
    recent[:3], times[:3] = [1, 2, 0], [10 * HOUR_MS, 9 * HOUR_MS, 12 * HOUR_MS]
    found, ages = history_inputs(keys, recent, times, 10 * HOUR_MS)
    assert found[:3].tolist() == [7, 0, -5]
    np.testing.assert_allclose(ages[:3], [0.0, np.log(2), 0.0], rtol=1e-6)
    assert set(ages[3:]) == {-1.0}
    assert ages.dtype == np.float32


@settings(deadline=None)
@given(some_inputs())
def test_one_request_is_the_same_batch_as_a_list_of_it(inputs: Inputs) -> None:
    for field in fields(Batch):
        assert same(getattr(alone(inputs), field.name), getattr(collate([inputs]), field.name)), field.name


@settings(deadline=None)
@given(st.lists(st.tuples(some_inputs(), st.booleans()), min_size=1, max_size=5))
def test_bytes_are_put_together_as_what_they_hold(given: list[tuple[Inputs, bool]]) -> None:
    given = [(one, first and len(one.item_keys) > 1) for one, first in given]
    expected = collate([one.some([0]) if first else one for one, first in given])
    found = collate_encoded([one.to_bytes() for one, _ in given], [first for _, first in given])
    assert all(same(getattr(found, one.name), getattr(expected, one.name)) for one in fields(Batch))
    assert found.dense.flags.writeable, "kernels are compiled for arrays that may be written to"


@settings(deadline=None)
@given(st.lists(st.lists(some_inputs(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_batches_beside_each_other_are_one(parts: list[list[Inputs]]) -> None:
    found = beside([collate(part) for part in parts])
    expected = collate([one for part in parts for one in part])
    assert all(same(getattr(found, one.name), getattr(expected, one.name)) for one in fields(Batch))
