"""What a request may ask of items' features: the grammar of `filters`, and which items of a catalogue pass.

`filters` is an object, all of whose entries must hold. An entry is the name of a feature and a condition on it: a value
(equal), a list of values (any of them), or an object of operators, all of which must hold. Where an item's feature is a
list, one member has to satisfy a value, a list of values, or all bounds of a range; `not` is the contrary of all that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np

from stream_reco.events.bad import shown
from stream_reco.events.field_names import nearest, shortened
from stream_reco.events.schema import MAX_ID_BYTES, MAX_KEYS, MAX_LIST
from stream_reco.retrieve.conditions import BOUNDS, All, AnyOf, Condition, Not, Range
from stream_reco.retrieve.passing_items import PassingItems, find_passing
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.feature_columns import Value, microseconds

OPERATORS = (*BOUNDS, "not", "exists")
DEEPEST = 8
"""Conditions within conditions: `not` of `not` says nothing that one less does not say."""


class BadFilterError(ValueError):
    """A filter that says nothing: what is wrong with it, and what to send instead."""


Conditions = Mapping[str, Condition]


def parse_filters(filters: Mapping[str, object]) -> Conditions:
    """The conditions by name of feature. Raises BadFilterError."""
    if len(filters) > MAX_KEYS:
        raise BadFilterError(f"filters names {len(filters)} features: send at most {MAX_KEYS}")
    conditions = {}
    for name, given in filters.items():
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_ID_BYTES:
            raise BadFilterError(f"filters names {shown(name)}: a feature's name is a text of 1 to {MAX_ID_BYTES}")
        conditions[name] = _condition(given, f"filters.{shortened(name)}", DEEPEST)
    return conditions


def passing(catalogue: Catalogue, conditions: Conditions) -> PassingItems:
    """The available items that satisfy all conditions."""
    asked = []
    for name, condition in conditions.items():
        column = catalogue.columns.column(name)
        if column is not None:
            asked.append((column, condition))
        elif not condition.holds_without:
            return PassingItems(np.empty(0, dtype=np.int32))
    return find_passing(catalogue.available[: catalogue.size], asked)


def _condition(given: object, where: str, depth: int) -> Condition:
    if isinstance(given, Mapping):
        return _operators(given, where, depth)
    if isinstance(given, list | tuple):
        if len(given) > MAX_LIST:
            raise BadFilterError(f"{where} has {len(given)} values: send at most {MAX_LIST}")
        return _any_of(given, where)
    return _any_of((given,), where)


def _any_of(given: Sequence[object], where: str) -> AnyOf:
    values: list[Value] = []
    for value in given:
        if isinstance(value, str | bool) or _is_finite(value):
            values.append(value)
        elif value is not None:
            raise BadFilterError(f"{where} has {shown(value)}: a value is a text, a finite number, true, false or null")
    return AnyOf(tuple(values), len(values) < len(given))


def _operators(given: Mapping[str, object], where: str, depth: int) -> Condition:
    if not given:
        raise BadFilterError(f"{where} is {{}}: name one of {', '.join(OPERATORS)}, or leave the feature out")
    if not depth:
        raise BadFilterError(f"{where} nests conditions more than {DEEPEST} deep: {{'not': {{'not': x}}}} is x")
    conditions: list[Condition] = []
    bounds = {}
    for name, value in given.items():
        if name in BOUNDS:
            bounds[name] = value
        elif name == "not":
            conditions.append(Not(_condition(value, f"{where}.not", depth - 1)))
        elif name == "exists":
            if not isinstance(value, bool):
                raise BadFilterError(f"{where}.exists is {shown(value)}: it is true or false")
            has_none = AnyOf((), holds_without=True)
            conditions.append(Not(has_none) if value else has_none)
        else:
            raise BadFilterError(_unknown_operator(str(name), where))
    if bounds:
        conditions.append(_range(bounds, where))
    return conditions[0] if len(conditions) == 1 else All(tuple(conditions))


def _unknown_operator(name: str, where: str) -> str:
    near = nearest(name, OPERATORS)
    meant = "" if near is None else f"did you mean {near!r}? "
    return f"{where} has the unknown operator {shown(name)}: {meant}there are {', '.join(OPERATORS)}"


def _range(given: Mapping[str, object], where: str) -> Range:
    bounds = [(name, _bound(value, f"{where}.{name}")) for name, value in given.items()]
    times = [isinstance(value, str) for value in given.values()]
    if any(times) and not all(times):
        raise BadFilterError(f"{where} is {shown(dict(given))}: its bounds are all numbers, or all ISO times")
    return Range(tuple(bounds), any(times))


def _bound(value: object, where: str) -> int | float:
    if isinstance(value, str):
        at = microseconds(value)
        if at is None:
            raise BadFilterError(
                f"{where} is {shown(value)}: a bound is a number, or an ISO 8601 time such as 2026-05-01T12:00:00Z"
            )
        return at
    if isinstance(value, bool) or not _is_finite(value):
        raise BadFilterError(f"{where} is {shown(value)}: a bound is a finite number or an ISO 8601 time")
    return value


def _is_finite(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that float64 reaches."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
