"""What items share in features: by how much of what is said of them they are one and the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.catalogue import Catalogue

_Values = frozenset[tuple[str, str]]


def largest_shared_features(
    catalogue: Catalogue, slots: NDArray[np.int32], others: NDArray[np.int32]
) -> NDArray[np.float32]:
    """float32[n] in 0..1: the largest share of feature values that an item and one of `others` have both.

    Of all values that either has (Jaccard, "The distribution of the flora in the alpine zone", 1912). `slots` int32[n]
    and `others` int32[m] are slots of the catalogue; an item is not compared with itself, and one without features, or
    without a slot (−1), shares none.
    """
    alike = np.zeros(len(slots), dtype=np.float32)
    of_others = {slot: values for slot in others.tolist() if (values := _values(catalogue.features[slot]))}
    if not of_others:
        return alike
    distinct, known = frozenset(of_others.values()), dict[_Values, float]()
    for place, slot in enumerate(slots.tolist()):
        if slot < 0 or not (values := _values(catalogue.features[slot])):
            continue
        if slot in of_others:
            alike[place] = _largest(values, [theirs for other, theirs in of_others.items() if other != slot])
            continue
        # Many items are described alike: what was compared once is not compared again.
        if values not in known:
            known[values] = _largest(values, distinct)
        alike[place] = known[values]
    return alike


def _largest(values: _Values, others: Collection[_Values]) -> float:
    return max((len(values & other) / len(values | other) for other in others), default=0.0)


def _values(features: Mapping[str, object] | None) -> _Values:
    pairs = (
        (name, value if isinstance(value, (list, tuple)) else (value,)) for name, value in (features or {}).items()
    )
    return frozenset((name, str(one)) for name, several in pairs for one in several if one is not None)
