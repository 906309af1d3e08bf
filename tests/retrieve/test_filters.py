"""Filters against a brute force over plain dictionaries, while items come, change and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.retrieve.filters import BadFilterError, parse_filters, passing
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement

TIMES = ["2026-01-01", "2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00.000001"]
SCALAR = st.one_of(
    st.sampled_from(["tea", "mug", "", "5", "2026", *TIMES]),
    st.sampled_from([0, 1, -1, 5, 2**53, 2**53 + 1, 2**53 + 2, -(2**63), 2**63 - 1]),
    st.sampled_from([0.0, -0.0, 1.5, 5.0, 1e300, 2.0**53, float(2**63)]),
    st.booleans(),
)
NAMES = st.sampled_from(["kind", "price", "wholly other"])
FEATURES = st.dictionaries(NAMES, st.one_of(SCALAR, st.none(), st.lists(st.one_of(SCALAR, st.none()), max_size=3)))
NUMBER = st.one_of(st.integers(-3, 7), st.sampled_from([2**53 + 1, 2.0**53, 1.5, -(2**63), 2**63]))
BOUNDS = st.sampled_from(["gt", "gte", "lt", "lte"])
RANGE = st.one_of(
    st.dictionaries(BOUNDS, NUMBER, min_size=1), st.dictionaries(BOUNDS, st.sampled_from(TIMES), min_size=1)
)
PLAIN = st.one_of(SCALAR, st.none(), st.lists(st.one_of(SCALAR, st.none()), max_size=3))
CONDITION = st.recursive(
    st.one_of(PLAIN, RANGE, st.fixed_dictionaries({"exists": st.booleans()})),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.builds(lambda bounds, of: {**bounds, "not": of}, RANGE, inner),
        st.builds(lambda bounds, there: {**bounds, "exists": there}, RANGE, st.booleans()),
    ),
    max_leaves=3,
)
FILTERS = st.dictionaries(NAMES, CONDITION, max_size=3)


def moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def within(value: object, bounds: Mapping[str, Any]) -> bool:
    for name, bound in bounds.items():
        left: Any = moment(value) if isinstance(bound, str) else value
        right: Any = moment(bound) if isinstance(bound, str) else bound
        if left is None or isinstance(left, (bool, str)):
            return False
        if not {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[name]:
            return False
    return True


def holds(given: object, condition: object) -> bool:
    """What the documentation says, of a feature's value, None where the item has no such feature."""
    members = [one for one in (given if isinstance(given, list) else [given]) if one is not None]
    if not isinstance(condition, dict):
        wanted = condition if isinstance(condition, list) else [condition]
        return any(same(member, one) for member in members for one in wanted) or (given is None and None in wanted)
    bounds = {name: bound for name, bound in condition.items() if name in ("gt", "gte", "lt", "lte")}
    return (
        (not bounds or any(within(member, bounds) for member in members))
        and ("not" not in condition or not holds(given, condition["not"]))
        and ("exists" not in condition or condition["exists"] == (given is not None))
    )


def by_hand(items: Sequence[dict[str, Any] | None], available: list[bool], filters: Mapping[str, Any]) -> list[bool]:
    return [
        is_available and all(holds((features or {}).get(name), condition) for name, condition in filters.items())
        for features, is_available in zip(items, available, strict=True)
    ]


def filtered(catalogue: Catalogue, filters: Mapping[str, object]) -> list[bool]:
    items = passing(catalogue, parse_filters(filters))
    if items.slots is None:
        assert len(items.mask) == catalogue.size
        return [bool(one) for one in items.mask]
    listed = items.slots.tolist()
    assert listed == sorted(set(listed))
    return [slot in set(listed) for slot in range(catalogue.size)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(FEATURES, st.booleans()), max_size=8),
    st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), FEATURES)), max_size=8),
    st.lists(FILTERS, min_size=1, max_size=4),
)
def test_what_passes_is_what_a_brute_force_finds(
    described: list[tuple[dict[str, Any], bool]],
    changes: list[tuple[int, dict[str, Any] | None]],
    filters: list[dict[str, Any]],
) -> None:
    catalogue = Catalogue()
    for item, (features, available) in enumerate(described):
        catalogue.describe(catalogue.admit(item), Statement(1, features, available))
    for at in range(len(changes) + 1):
        for one in filters:
            assert filtered(catalogue, one) == by_hand(
                catalogue.features, catalogue.available[: catalogue.size].tolist(), one
            )
        if at < len(changes):
            item, changed = changes[at]
            if changed is None:
                catalogue.release([slot] if (slot := catalogue.slot_of(item)) >= 0 else [])
                catalogue.rested()
            else:
                catalogue.describe(catalogue.admit(item), Statement(2 + at, changed))


def test_a_mirror_filters_as_its_original() -> None:
    original, mirror = Catalogue(), Catalogue()
    for item in range(1500):
        original.describe(original.admit(item), Statement(1, {"price": item % 7, "tags": ["a", "b"][: item % 3]}))
    mirror.apply(original.rows(original_slots(original)))
    filters = {"price": {"gte": 3, "lt": 5}, "tags": "b"}
    assert filtered(mirror, filters) == by_hand(original.features, [True] * 1500, filters)
    original.describe(3, Statement(2, {"price": 100}))
    original.describe(8, Statement(2, {}, available=False))
    original.describe(original.admit("new"), Statement(2, {"price": 4, "tags": "b"}))
    mirror.apply(original.rows(original_slots(original)[[3, 8, 1500]]))
    available = original.available[: original.size].tolist()
    assert not all(available)
    assert filtered(mirror, filters) == by_hand(original.features, available, filters)
    assert filtered(mirror, filters)[-1]


def original_slots(catalogue: Catalogue) -> Any:
    return np.arange(catalogue.size, dtype=np.int32)


def test_a_column_forgets_values_that_no_item_has_any_more() -> None:
    catalogue = Catalogue()
    for item in range(3):
        catalogue.admit(item)
    for price in range(6000):
        catalogue.describe(price % 3, Statement(price, {"price": price}))
        if price % 500 == 0:
            assert sum(filtered(catalogue, {"price": {"gte": price}})) == 1
    column = catalogue.columns.column("price")
    assert column is not None
    assert len(column.values) < 3000
    assert filtered(catalogue, {"price": [5998, 5999]}) == [False, True, True]


def test_names_that_no_item_has_cost_no_memory_and_are_noticed_when_one_comes() -> None:
    catalogue = Catalogue()
    catalogue.describe(catalogue.admit(1), Statement(1, {"kind": "tea"}))
    for number in range(2000):
        assert filtered(catalogue, {f"made up {number}": "x"}) == [False]
    assert len(catalogue.columns._columns) + len(catalogue.columns._unknown) < 1100
    catalogue.describe(0, Statement(2, {"made up 7": "x"}))
    assert filtered(catalogue, {"made up 7": "x"}) == [True]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"gtee": 3}, "'gtee': did you mean 'gte'? there are gt, gte, lt, lte, not, exists"),
        ({"between": [1, 2]}, "unknown operator 'between': there are gt"),
        ({}, "filters.price is {}: name one of gt"),
        ({"gt": "cheap"}, "filters.price.gt is 'cheap': a bound is a number, or an ISO 8601 time such as"),
        ({"gt": True}, "filters.price.gt is True: a bound is"),
        ({"gt": None}, "filters.price.gt is None: a bound is"),
        ({"gt": [1]}, "filters.price.gt is [1]: a bound is"),
        ({"gt": 1, "lt": "2026-01-01"}, "its bounds are all numbers, or all ISO times"),
        ({"lt": float("inf")}, "filters.price.lt is inf"),
        ({"lt": 10**400}, "a bound is a finite number"),
        ({"exists": "yes"}, "filters.price.exists is 'yes': it is true or false"),
        ({"not": {"gtt": 3}}, "filters.price.not has the unknown operator 'gtt': did you mean 'gt'?"),
        ([[1]], "filters.price has [1]: a value is a text"),
        ([{"gt": 3}], "filters.price has {'gt': 3}: a value is a text"),
        (float("nan"), "filters.price has nan: a value is a text, a finite number"),
        ([0] * 5000, "filters.price has 5000 values: send at most 4096"),
    ],
)
def test_bad_filters_are_refused_with_the_reason(condition: object, said: str) -> None:
    with pytest.raises(BadFilterError) as refused:
        parse_filters({"price": condition})
    assert said in str(refused.value)


def test_conditions_are_not_nested_without_end() -> None:
    condition: dict[str, Any] = {"exists": True}
    for _ in range(20):
        condition = {"not": condition}
    with pytest.raises(BadFilterError, match="more than 8 deep"):
        parse_filters({"price": condition})
    with pytest.raises(BadFilterError, match="at most 1024"):
        parse_filters({str(number): 1 for number in range(2000)})
