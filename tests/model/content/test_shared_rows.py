"""Which rows of the table of content speak of values alone: held to a plain list of all keys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stream_reco.model.content import shared_rows
from stream_reco.model.content.pairs import (
    ACTIVITY,
    APPEAL,
    CONTEXT,
    CROSS,
    EQUAL,
    ITEM,
    OWN,
    POPULARITY,
    USER,
    WORDS,
    key_of_row,
    mixed,
)
from stream_reco.model.content.shared_rows import SharedValues, shared_keys


def said(seed: int, users: int, items: int, contexts: int) -> SharedValues:
    rng = np.random.default_rng(seed)

    def side(count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(-(2**31), 2**31, 5).astype(np.int32)[rng.integers(0, 5, count)], rng.integers(
            -(2**63), 2**63 - 1, count
        )

    return SharedValues(*side(users), *side(items), rng.integers(-(2**63), 2**63 - 1, contexts))


def plain_keys(values: SharedValues) -> list[int]:
    """The keys of all rows that there may be, part by part."""
    users = [mixed(*pair) for pair in zip(values.user_fields, values.user_codes, strict=True)]
    items = [mixed(*pair) for pair in zip(values.item_fields, values.item_codes, strict=True)]
    found = [key_of_row(ITEM, one, 0) for one in items] + [key_of_row(USER, one, 0) for one in users]
    found += [key_of_row(CROSS, *pair) for pair in itertools.product(users, items)]
    found += [key_of_row(EQUAL, *pair) for pair in itertools.product(values.user_fields, values.item_fields)]
    return found + [key_of_row(CONTEXT, *pair) for pair in itertools.product(values.contexts.tolist(), items)]


def personal_keys(values: SharedValues, numbers: range) -> list[int]:
    """Keys of users and items with these numbers, over the same values."""
    users = [mixed(*pair) for pair in zip(values.user_fields, values.user_codes, strict=True)]
    items = [mixed(*pair) for pair in zip(values.item_fields, values.item_codes, strict=True)]
    found = [key_of_row(part, one, item) for part in (OWN, WORDS) for one in numbers for item in items]
    found += [key_of_row(APPEAL, one, user) for one in numbers for user in users]
    return found + [key_of_row(part, one, 0) for part in (POPULARITY, ACTIVITY) for one in numbers]


@pytest.mark.parametrize("sizes", [(9, 30, 4), (40, 7, 0), (0, 6, 2), (6, 0, 2), (0, 0, 0)])
def test_all_rows_of_values_are_found_and_none_of_a_person_or_an_item(sizes: tuple[int, int, int]) -> None:
    values, rng = said(1, *sizes), np.random.default_rng(2)
    plain = sorted(set(plain_keys(values)))
    kept = [key for key in plain if rng.random() < 0.7]
    table = np.array(kept + personal_keys(values, range(50)), dtype=np.int64)
    assert shared_keys(values, rng.permutation(table)).tolist() == kept
    assert shared_keys(values, table[len(kept) :]).tolist() == []


def test_of_too_many_pairs_those_of_the_most_frequent_values_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_rows, "MOST_PAIRS", 64)
    for users, items, crossed_users, crossed_items in (
        (20, 20, 8, 8),
        (4, 100, 4, 16),
        (100, 4, 16, 4),
        (1, 90, 1, 64),
    ):
        values = said(3, users, items, 0)
        table = np.array(sorted(set(plain_keys(values))), dtype=np.int64)
        first = SharedValues(
            values.user_fields[:crossed_users],
            values.user_codes[:crossed_users],
            values.item_fields[:crossed_items],
            values.item_codes[:crossed_items],
            values.contexts,
        )
        found = set(shared_keys(values, table).tolist())
        crosses = set(plain_keys(first)) & set(table.tolist())
        assert crosses <= found
        assert len(found) < len(table) or users * items <= 64
