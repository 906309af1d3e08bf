"""How much of what is said of items is the same, against the formula, and of items that nobody has described."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.shared_features import largest_shared_features

DESCRIBED: list[dict[str, Any]] = [
    {"genre": ["jazz", "live"], "year": 1959},
    {"genre": ["jazz"], "year": 1964},
    {},
    {"genre": "jazz"},
]


def test_it_is_the_largest_jaccard_and_nothing_for_an_item_without_a_slot() -> None:
    catalogue = Catalogue()
    for number, features in enumerate(DESCRIBED):
        catalogue.describe(catalogue.admit(number), Statement(1, features))
    slots = np.array([0, 1, 2, 3, -1], dtype=np.int32)
    # The last slot of all is compared too: a missing slot must not be read as that one.
    found = largest_shared_features(catalogue, slots, np.array([1, 3], dtype=np.int32))
    assert found.tolist() == pytest.approx([1 / 3, 1 / 2, 0.0, 1 / 2, 0.0])
