"""How much of what is said of items is the same, against the formula, and of items that nobody has described."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.shared_features import largest_shared_features

DESCRIBED: list[dict[str, Any]] = [
    {"genre": ["jazz", "live"], "year": 1959},
    {"genre": ["jazz"], "year": 1964},
    {},
    {"genre": "jazz"},
]
NAMES = ["red", "blue", "green", "tall", "small"]
TEXTS = [
    "a warm lamp for cold and long evenings",
    "a warm lamp for cold and short evenings",
    "one chair of two, painted",
]
FEATURES = st.fixed_dictionaries(
    {},
    optional={
        "colour": st.one_of(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3)),
        "size": st.sampled_from(NAMES),
        "price": st.sampled_from([1.5, 2.5, 7.25]),
        "new": st.booleans(),
        "title": st.sampled_from(TEXTS),
    },
)


def described(features: list[dict[str, Any]]) -> Catalogue:
    catalogue = Catalogue()
    for number, one in enumerate(features):
        catalogue.describe(catalogue.admit(number), Statement(1, one))
    return catalogue


def values_of(features: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """As the formula has them: pairs of feature and value."""
    pairs = ((name, value if isinstance(value, list) else [value]) for name, value in features.items())
    return frozenset((name, str(one)) for name, several in pairs for one in several)


def jaccard(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0


def test_it_is_the_largest_jaccard_and_nothing_for_an_item_without_a_slot() -> None:
    catalogue = described(DESCRIBED)
    slots = np.array([0, 1, 2, 3, -1], dtype=np.int32)
    # The last slot of all is compared too: a missing slot must not be read as that one.
    found = largest_shared_features(catalogue, slots, np.array([1, 3], dtype=np.int32))
    assert found.tolist() == pytest.approx([1 / 3, 1 / 2, 0.0, 1 / 2, 0.0])


@given(features=st.lists(FEATURES, min_size=2, max_size=12), data=st.data())
def test_it_is_the_formula_whatever_is_said(features: list[dict[str, Any]], data: st.DataObject) -> None:
    # Of each feature the kind is known before: a text is one whatever comes first.
    catalogue = described([{"title": one, "colour": "red", "price": 1.5} for one in TEXTS] + features)
    first, count = len(TEXTS), len(features)
    others = data.draw(st.lists(st.integers(0, count - 1), max_size=4, unique=True))
    found = largest_shared_features(
        catalogue,
        np.arange(first, first + count, dtype=np.int32),
        np.array([first + other for other in others], dtype=np.int32),
    )
    said = [values_of(one) for one in features]
    expected = [
        max((jaccard(said[one], said[other]) for other in others if other != one), default=0.0) for one in range(count)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_of_a_text_all_words_count_as_one_value() -> None:
    catalogue = described([{"title": TEXTS[0]}, {"title": TEXTS[1]}, {"title": TEXTS[0].upper()}])
    found = largest_shared_features(catalogue, np.array([1, 2], dtype=np.int32), np.array([0], dtype=np.int32))
    assert found.tolist() == [0.0, 1.0]
