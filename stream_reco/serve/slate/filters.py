"""Which candidates a request allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.catalogue import Catalogue


def excluded_slots(catalogue: Catalogue, exclude: Sequence[Id]) -> NDArray[np.int32]:
    """int32[n]: slots of the excluded items that the catalogue knows."""
    slots = (catalogue.slot_of(item_id) for item_id in exclude)
    return np.array([slot for slot in slots if slot >= 0], dtype=np.int32)


def passing(catalogue: Catalogue, slots: NDArray[np.int32], filters: Mapping[str, object]) -> NDArray[np.bool_]:
    """bool[n]: whether each slot's item has, for every filtered feature, a wanted value.

    A feature with several values passes if one of them is wanted.
    """
    wanted = {name: _values(value) for name, value in filters.items()}
    return np.array([_passes(catalogue.features[slot], wanted) for slot in slots], dtype=np.bool_)


def _passes(features: Mapping[str, object] | None, wanted: Mapping[str, list[object]]) -> bool:
    if features is None:
        return False
    return all(any(value in wanted[name] for value in _values(features.get(name))) for name in wanted)


def _values(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
