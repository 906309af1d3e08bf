"""Contexts in numbers: what becomes a category, what a time, and that memory is bounded whatever is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.signals.context import LATEST_TIME_MS, LONGEST_VALUE, Context, ContextCoder, ContextValue
from stream_reco.signals.settings import CONTEXT_FIELDS, TIME_FIELDS

NOW = 1_600_000_000_000
LIMIT = 3


def learned(*contexts: Mapping[str, ContextValue], limit: int = 512) -> ContextCoder:
    coder = ContextCoder(limit)
    for context in contexts:
        coder.learn(context)
    return coder


def same(one: Context, other: Context) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Context._fields)


@pytest.mark.parametrize(
    "value", ["phone", "", "😀", 5, 0, -7, 5.0, True, False, 2**63 - 1, -(2**63), LATEST_TIME_MS, "x" * LONGEST_VALUE]
)
def test_texts_whole_numbers_and_booleans_are_categories(value: ContextValue) -> None:
    encoded = learned({"field": value}).encode({"field": value}, NOW)
    assert encoded.values[0] == 0
    assert encoded.keys[0] != 0
    assert not encoded.ages.any()


@pytest.mark.parametrize("value", [None, 1.5, math.nan, math.inf, -math.inf, 1e300, 2**63, 2**70, "x" * 513])
def test_what_is_no_category_is_ignored(value: ContextValue) -> None:
    coder = learned({"field": value})
    assert coder.size == 0
    assert not coder.changed
    coder.learn({"field": "known"})
    assert coder.encode({"field": value}, NOW).values[0] == -1


def test_a_number_is_the_same_category_in_every_type_and_a_boolean_is_no_number() -> None:
    coder = learned({"field": 1}, {"field": True})
    keys = [int(coder.encode({"field": value}, NOW).values[0]) for value in (1, 1.0, "1", True, "true")]
    assert keys == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("seconds", [0, 1, 3600])
@pytest.mark.parametrize("kind", [int, float])
def test_times_become_ages(seconds: int, kind: type[int] | type[float]) -> None:
    coder = learned({"start": NOW})
    encoded = coder.encode({"start": kind(NOW - seconds * 1000)}, NOW)
    assert encoded.ages[0] == pytest.approx(math.log1p(seconds))
    assert coder.encode({"start": NOW + 5000}, NOW).ages[0] == 0.0
    assert encoded.values.tolist() == [-1] * CONTEXT_FIELDS


def test_fields_beyond_the_first_are_ignored() -> None:
    coder = learned({f"f{n}": "v" for n in range(12)}, {f"t{n}": NOW for n in range(5)})
    encoded = coder.encode({f"f{n}": "v" for n in range(12)} | {f"t{n}": NOW - 1000 for n in range(5)}, NOW)
    assert encoded.values.tolist() == list(range(CONTEXT_FIELDS))
    assert (encoded.ages > 0).sum() == TIME_FIELDS
    assert coder.size == CONTEXT_FIELDS


def test_no_two_fields_share_a_key() -> None:
    coder = learned({"a": "b=c", "a=b": "c"})
    keys = coder.encode({"a": "b=c", "a=b": "c"}, NOW).keys[:2]
    assert keys[0] != keys[1]


def test_a_field_with_too_many_values_is_dropped_and_its_values_leave() -> None:
    coder = learned(*({"session": n, "os": n % 2} for n in range(LIMIT + 1)), limit=LIMIT)
    assert coder.encode({"session": 0, "os": 0}, NOW).values.tolist()[:2] == [-1, 1]
    leaving = coder.unused([])
    assert len(leaving) == LIMIT
    coder.release(leaving)
    assert coder.unused(range(coder.size)) == sorted(set(range(coder.size)) - set(leaving))
    coder.learn({"os": 9})
    assert coder.encode({"os": 9}, NOW).values[1] in leaving


def test_unknown_values_never_become_known_by_asking() -> None:
    coder = learned({"os": "a"})
    before = coder.state()["context"].tobytes()
    coder.encode({"os": "b", "other": "c", "when": NOW}, NOW)
    assert coder.state()["context"].tobytes() == before


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 6),
    st.integers(0, 6).map(float),
    st.just(0.5),
    st.just(math.nan),
    st.sampled_from(["a", "b", "", "😀", "1", "true"]),
    st.integers(NOW - 5, NOW),
)
CONTEXTS = st.dictionaries(st.sampled_from([f"field{n}" for n in range(11)]), VALUES, max_size=5)


class CoderMachine(RuleBasedStateMachine):
    """Each field's values in a dictionary: number ⇄ value is one to one, and a copy can take over at any point."""

    def __init__(self) -> None:
        super().__init__()
        self.coder = ContextCoder(LIMIT)
        self.twin = ContextCoder(LIMIT)
        self.shown: list[dict[str, ContextValue]] = []

    @rule(context=CONTEXTS)
    def learn(self, context: dict[str, ContextValue]) -> None:
        self.coder.learn(context)
        self.twin.learn(context)
        self.shown.append(context)

    @rule(numbers=st.sets(st.integers(0, 30)))
    def release(self, numbers: set[int]) -> None:
        idle = [number for number in numbers if number < self.coder.size]
        for coder in (self.coder, self.twin):
            coder.release(coder.unused(idle))

    @rule()
    def restart(self) -> None:
        self.twin = ContextCoder(LIMIT)
        self.twin.apply(self.coder.state())

    @invariant()
    def numbers_are_one_to_one(self) -> None:
        owners: dict[int, tuple[int, int]] = {}
        for context in self.shown[-40:]:
            encoded, copied = self.coder.encode(context, NOW), self.twin.encode(context, NOW)
            assert same(encoded, copied)
            for place, (number, key) in enumerate(zip(encoded.values.tolist(), encoded.keys.tolist(), strict=True)):
                assert (number >= 0) == (key != 0)
                if number >= 0:
                    assert owners.setdefault(number, (place, key)) == (place, key)
        assert len(set(owners.values())) == len(owners)
        assert self.coder.size <= LIMIT * CONTEXT_FIELDS
        assert self.coder.state()["context"].tobytes() == self.twin.state()["context"].tobytes()


TestCoder = CoderMachine.TestCase
TestCoder.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.one_of(st.text(), st.integers(), st.floats()), max_size=20)))
def test_nothing_breaks_it_and_memory_is_bounded(contexts: list[dict[str, ContextValue]]) -> None:
    coder = learned(*contexts, limit=LIMIT)
    for context in contexts:
        encoded = coder.encode(context, NOW)
        assert np.isfinite(encoded.ages).all()
    assert coder.size <= LIMIT * CONTEXT_FIELDS
    copy = ContextCoder(LIMIT)
    copy.apply(coder.state())
    assert all(same(copy.encode(context, NOW), coder.encode(context, NOW)) for context in contexts)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([f"field{number}" for number in range(CONTEXT_FIELDS + 2)]),
            st.one_of(
                st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.text(max_size=2), st.just(NOW - 5)
            ),
        ),
        max_size=12,
    )
)
def test_to_take_a_context_is_to_learn_and_then_to_encode_it(contexts: list[dict[str, ContextValue]]) -> None:
    one, other = ContextCoder(LIMIT), ContextCoder(LIMIT)
    for context in contexts:
        other.learn(context)
        assert same(one.take(context, NOW), other.encode(context, NOW))
    assert one.state()["context"].tobytes() == other.state()["context"].tobytes()
    assert one.changed == other.changed
