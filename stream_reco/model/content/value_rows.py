"""Which rows tell what content says of the candidates of requests: each value of a request once.

`pairs_of` lists the coefficients of each candidate, as learning needs them. Most are of values that a candidate shares
with others: here each distinct value of a request has its rows once, with all that it is crossed with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.content.pairs import (
    ACTIVITY,
    APPEAL,
    CONTEXT,
    CROSS,
    EQUAL,
    GOLDEN,
    ITEM,
    MOST_CROSSED,
    OWN,
    POPULARITY,
    USER,
    Said,
    key_of_row,
    mixed,
    said_of,
)
from stream_reco.model.inputs import NO_KEY, Batch

OF_VALUE = 2
"""Rows of a value before those of contexts and crosses: for everybody, and for the user who asks."""
_SHIFT = np.uint64(32)
_OF_FIELD = np.int64(-7046029254386353131)
"""Odd, so that the same value of different features is found in different places."""


class ValueRows(NamedTuple):
    """Keys of the rows that the candidates of a batch need, and where they are."""

    keys: NDArray[np.int64]
    """int64[m]"""
    of_request: NDArray[np.int64]
    """int64[g]: the first row of each request: its activity, then one for each value of the user."""
    of_candidate: NDArray[np.int64]
    """int64[n]: the first row of each candidate: its popularity, then its appeal to each value of the user."""
    value_of: NDArray[np.int64]
    """int64[v]: the number of each value of the candidates among the distinct ones."""
    of_value: NDArray[np.int64]
    """int64[d]: the first row of each distinct value: `OF_VALUE`, then contexts, then crosses with the user's."""
    equals: NDArray[np.int64]
    """int64[d + 1]: where the rows of each distinct value begin, in `equal_rows`, that are of equal values."""
    equal_rows: NDArray[np.int64]
    """int64[e]: rows; of one key the same row."""


@njit(cache=True, nogil=True)
def crossed(begin: int, end: int) -> int:
    """How many of the values from `begin` to `end` are crossed: the first ones."""
    return int(min(end - begin, MOST_CROSSED))


@njit(cache=True, nogil=True)
def _room(said: Said) -> tuple[int, int]:
    """The most rows that a batch can need, and places of a table for its values, a power of two."""
    rows = said.user_keys.shape[0] + said.user_codes.shape[0]
    for candidate in range(said.owners.shape[0]):
        owner = said.owners[candidate]
        user = said.user_bounds[owner + 1] - said.user_bounds[owner]
        mine = said.item_bounds[candidate + 1] - said.item_bounds[candidate]
        rows += 1 + user + mine * (OF_VALUE + said.contexts.shape[1] + 2 * min(user, MOST_CROSSED))
    places = 16
    while places < 2 * said.item_codes.shape[0]:
        places *= 2
    return rows, places


@njit(cache=True, nogil=True)
def _put_user(said: Said, owner: int, keys: NDArray[np.int64], at: int) -> int:
    """The rows of a request: the activity of the user, and what is said of them."""
    keys[at] = key_of_row(ACTIVITY, said.user_keys[owner], 0)
    at += 1
    for p in range(said.user_bounds[owner], said.user_bounds[owner + 1]):
        keys[at] = key_of_row(USER, mixed(said.user_fields[p], said.user_codes[p]), 0)
        at += 1
    return at


@njit(cache=True, nogil=True)
def _put_candidate(said: Said, owner: int, item_key: int, keys: NDArray[np.int64], at: int) -> int:
    """The rows of a candidate itself."""
    keys[at] = key_of_row(POPULARITY, item_key, 0)
    at += 1
    for p in range(said.user_bounds[owner], said.user_bounds[owner + 1]):
        keys[at] = key_of_row(APPEAL, item_key, mixed(said.user_fields[p], said.user_codes[p]))
        at += 1
    return at


@njit(cache=True, nogil=True)
def _put_value(said: Said, owner: int, q: int, keys: NDArray[np.int64], at: int) -> int:
    """The rows of a value of items but for equal ones: by itself, in the contexts, and with what the user says."""
    value, first = mixed(said.item_fields[q], said.item_codes[q]), said.user_bounds[owner]
    keys[at] = key_of_row(ITEM, value, 0)
    keys[at + 1] = key_of_row(OWN, said.user_keys[owner], value)
    at += OF_VALUE
    for context in said.contexts[owner]:
        if context != NO_KEY:
            keys[at] = key_of_row(CONTEXT, context, value)
            at += 1
    for p in range(first, first + crossed(first, said.user_bounds[owner + 1])):
        keys[at] = key_of_row(CROSS, mixed(said.user_fields[p], said.user_codes[p]), value)
        at += 1
    return at


@njit(cache=True, nogil=True)
def _number_values(
    fields: NDArray[np.int32],
    codes: NDArray[np.int64],
    bounds: NDArray[np.int64],
    owners: NDArray[np.int64],
    places: int,
    value_of: NDArray[np.int64],
    first_of: NDArray[np.int64],
) -> int:
    """Number the values that are distinct within each request, in their order; returns how many there are.

    Fills the number of each, and where each number stands first. `places`: of a table, a power of two.
    """
    table, last = np.full(places, -1, np.int64), places - 1
    distinct, least, before = 0, 0, -1
    for candidate in range(owners.shape[0]):
        if owners[candidate] != before:
            before, least = owners[candidate], distinct
        for q in range(bounds[candidate], bounds[candidate + 1]):
            field, code = fields[q], codes[q]
            place = np.int64((np.uint64(code + field * _OF_FIELD) * GOLDEN) >> _SHIFT) & last
            # What is of an earlier request is as good as free.
            while table[place] >= least and not (
                codes[first_of[table[place]]] == code and fields[first_of[table[place]]] == field
            ):
                place = (place + 1) & last
            if table[place] < least:
                table[place], first_of[distinct] = distinct, q
                distinct += 1
            value_of[q] = table[place]
    return distinct


@njit(cache=True, nogil=True)
def _put_equals(
    said: Said,
    owner: int,
    q: int,
    keys: NDArray[np.int64],
    at: int,
    equal_rows: NDArray[np.int64],
    bounds: tuple[int, int],
) -> tuple[int, int]:
    """Rows of equal values of the user: of features whose key the request has none of yet; returns both ends."""
    begin, equal = bounds
    first = said.user_bounds[owner]
    for p in range(first, first + crossed(first, said.user_bounds[owner + 1])):
        if said.user_codes[p] == said.item_codes[q]:
            key, row = key_of_row(EQUAL, said.user_fields[p], said.item_fields[q]), -1
            for place in range(begin, equal):
                if keys[equal_rows[place]] == key:
                    row = equal_rows[place]
            if row < 0:
                row, keys[at] = at, key
                at += 1
            equal_rows[equal] = row
            equal += 1
    return at, equal


@njit(cache=True, nogil=True)
def _enumerate(plain_said: tuple[NDArray[Any], ...]) -> tuple[NDArray[np.int64], ...]:
    said = Said(*plain_said)
    (most, places), values = _room(said), said.item_codes.shape[0]
    keys, at = np.empty(most, np.int64), 0
    of_request, of_candidate = np.zeros(said.user_keys.shape[0], np.int64), np.zeros(said.owners.shape[0], np.int64)
    value_of, of_value, first_of = np.empty(values, np.int64), np.empty(values, np.int64), np.empty(values, np.int64)
    equals, equal_rows = np.zeros(values + 1, np.int64), np.empty(values * MOST_CROSSED, np.int64)
    count = _number_values(said.item_fields, said.item_codes, said.item_bounds, said.owners, places, value_of, first_of)
    distinct, equal, first_equal, before = 0, 0, 0, -1
    for candidate in range(said.owners.shape[0]):
        owner = said.owners[candidate]
        if owner != before:  # candidates of one request stand together
            before, first_equal, of_request[owner] = owner, equal, at
            at = _put_user(said, owner, keys, at)
        of_candidate[candidate] = at
        at = _put_candidate(said, owner, said.item_keys[candidate], keys, at)
        while distinct < count and first_of[distinct] < said.item_bounds[candidate + 1]:
            of_value[distinct] = at
            at = _put_value(said, owner, first_of[distinct], keys, at)
            at, equal = _put_equals(said, owner, first_of[distinct], keys, at, equal_rows, (first_equal, equal))
            distinct += 1
            equals[distinct] = equal
    return (
        keys[:at],
        of_request,
        of_candidate,
        value_of,
        of_value[:distinct],
        equals[: distinct + 1],
        equal_rows[:equal],
    )


def value_rows(batch: Batch) -> tuple[Said, ValueRows]:
    """What is said in a batch, and the rows that are needed of it; candidates of one request stand together in it."""
    said = said_of(batch)
    return said, ValueRows(*_enumerate(tuple(said)))
