"""Coefficients of a pair held to a plain enumeration of what is crossed with what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.model.content.pairs import (
    ACTIVITY,
    APPEAL,
    CONTEXT,
    CROSS,
    EQUAL,
    ITEM,
    MOST_CROSSED,
    OWN,
    POPULARITY,
    USER,
    WORDS,
    pairs_of,
    priors_of,
)
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.inputs import Inputs, collate
from stream_reco.signals.content.values import Values
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT

SETTINGS = ContentSettings()
SAID = st.lists(
    st.tuples(st.integers(1, 3), st.integers(10, 14), st.sampled_from([0.25, 0.5])),
    max_size=4,
    unique_by=lambda v: v[:2],
)
Said = list[tuple[int, int, float]]


def values(said: Said) -> Values:
    return Values(
        np.array([one[0] for one in said], np.int32),
        np.array([one[1] for one in said], np.int64),
        np.array([one[2] for one in said], np.float32),
    )


def request(user: int, profile: Said, items: list[tuple[int, Said]], contexts: tuple[int, ...] = ()) -> Inputs:
    keys = np.zeros(CONTEXT_FIELDS, np.int64)
    keys[: len(contexts)] = contexts
    return Inputs(
        user,
        keys,
        np.zeros(RECENT, np.int64),
        np.full(RECENT, -1, np.float32),
        np.array([item for item, _ in items], np.int64),
        np.zeros((len(items), 0), np.float32),
        np.ones(len(items), np.float32),
        values(profile),
        np.array([len(said) for _, said in items], np.int32),
        values([one for _, said in items for one in said]),
    )


def expected(user: int, profile: Said, item: int, said: Said, contexts: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """What each coefficient stands for, and what it is multiplied by."""
    if not profile and not said:
        return
    yield POPULARITY, (item,), 1.0
    yield ACTIVITY, (user,), 1.0
    for field, code, weight in said:
        yield ITEM, (field, code), weight
        yield WORDS if field % 2 else OWN, (user, field, code), weight
        for context in contexts:
            yield CONTEXT, (context, field, code), weight
    for field, code, weight in profile:
        yield USER, (field, code), weight
        yield APPEAL, (item, field, code), weight
    yield from ((EQUAL, pair, 1.0) for pair in {(u[0], i[0]) for u in profile for i in said if u[1] == i[1]})
    for u in profile:
        for i in said:
            yield CROSS, (*u[:2], *i[:2]), u[2] * i[2]


@settings(deadline=None)  # the first call compiles
@given(
    people=st.lists(
        st.tuples(
            st.integers(1, 3),
            SAID,
            st.lists(st.tuples(st.integers(1, 4), SAID), min_size=1, max_size=3),
            st.sampled_from([(), (71,), (71, 72)]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_all_is_crossed_that_should_be_and_no_two_share_a_key(
    people: list[tuple[int, Said, list[tuple[int, Said]], tuple[int, ...]]],
) -> None:
    batch = collate([request(*one) for one in people])
    pairs = pairs_of(batch, priors_of(SETTINGS))
    meanings: dict[int, tuple[Any, ...]] = {}
    keys: dict[tuple[Any, ...], int] = {}
    candidates = [(user, profile, item, said, at) for user, profile, items, at in people for item, said in items]
    for place, candidate in enumerate(candidates):
        mine = slice(pairs.bounds[place], pairs.bounds[place + 1])
        wanted = sorted((part, weight) for part, _, weight in expected(*candidate))
        squares = {part: sum(weight**2 for other, weight in wanted if other == part) for part in range(10)}
        shrunk = sorted(
            (part, weight / max(1.0, squares[part]) ** 0.5 if part != EQUAL else weight) for part, weight in wanted
        )
        given_ = sorted(zip(pairs.parts[mine].tolist(), pairs.weights[mine].tolist(), strict=True))
        assert [part for part, _ in given_] == [part for part, _ in shrunk]
        np.testing.assert_allclose([weight for _, weight in given_], [weight for _, weight in shrunk], rtol=1e-5)
        for part in range(10):
            names = sorted((part, *name) for other, name, _ in expected(*candidate) if other == part)
            found = set(pairs.keys[mine][pairs.parts[mine] == part].tolist())
            assert len(found) == len(names)
            if len(names) == 1:
                (name,), (key,) = names, found
                assert meanings.setdefault(key, name) == name
                assert keys.setdefault(name, key) == key


@pytest.mark.parametrize("part", range(10))
def test_a_variance_of_zero_leaves_a_part_out(part: int) -> None:
    name = ("item", "user", "cross", "equal", "context", "own", "appeal", "popularity", "activity", "words")[part]
    batch = collate([request(1, [(1, 10, 1.0)], [(2, [(2, 10, 1.0), (3, 10, 1.0)])], (71,))])
    whole, without = (
        set(pairs_of(batch, priors_of(given_)).parts.tolist())
        for given_ in (SETTINGS, replace(SETTINGS, **{name: 0.0}))
    )
    assert whole == set(range(10))
    assert whole - without == {part}


def test_nobody_of_whom_nothing_is_said_has_a_coefficient() -> None:
    pairs = pairs_of(collate([request(1, [], [(2, []), (3, [(1, 10, 1.0)])])]), priors_of(SETTINGS))
    assert pairs.bounds[1] == 0 < pairs.bounds[2]


def test_crosses_are_bounded_however_much_is_said() -> None:
    many: Said = [(1, code, 1.0) for code in range(100, 300)]
    pairs = pairs_of(collate([request(1, many, [(2, many)])]), priors_of(SETTINGS))
    assert np.count_nonzero(pairs.parts == CROSS) == MOST_CROSSED**2
    assert np.count_nonzero(pairs.parts == ITEM) == len(many)
    for part in range(10):
        assert part == EQUAL or (pairs.weights[pairs.parts == part] ** 2).sum() < 1.001
