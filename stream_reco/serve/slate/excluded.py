"""Which items a request leaves out by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.catalogue import Catalogue


def excluded_slots(catalogue: Catalogue, exclude: Sequence[Id]) -> NDArray[np.int32]:
    """int32[n]: slots of the excluded items that the catalogue knows."""
    slots = (catalogue.slot_of(item_id) for item_id in exclude)
    return np.array([slot for slot in slots if slot >= 0], dtype=np.int32)
