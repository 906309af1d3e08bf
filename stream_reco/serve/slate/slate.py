"""The answer to "what should this user see now?"."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id


class SlateItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recommended item.

    `score` is a calibrated probability in 0..1 that the user acts on the item; with objectives it is the sum of weight
    × probability, and may be larger. `source` names where the candidate came from, and `propensity` is the probability
    in (0, 1] with which this place got this item, given all that was known; 1 where nothing was drawn. It is to come
    back in the impression. `probabilities` has that of each kind of action, and `values` what its actions are expected
    to bring, where they carry values; JSON leaves out what is empty.
    """

    item_id: Id
    score: float
    source: str
    propensity: float
    probabilities: dict[str, float] = {}
    values: dict[str, float] = {}


class Slate(msgspec.Struct, frozen=True):
    """The items for one request, best first but for explored ones, all scored by one version of the model.

    `request_id` is to come back in the impressions and actions that follow.
    """

    request_id: str
    version: int
    items: list[SlateItem]


class ScoredItems(NamedTuple):
    """What is said of n items that were asked for; zeros before the first version."""

    scores: NDArray[np.float32]
    """float32[n]: probabilities that the user acts on each, or with objectives the sum of weight × probability."""
    probabilities: dict[str, NDArray[np.float32]]
    """float32[n] by kind of action."""
    values: dict[str, NDArray[np.float32]]
    """float32[n] by kind whose actions carry values: what they are expected to bring."""


class Neighbour(msgspec.Struct, frozen=True):
    """An item like another one; `score` is their similarity, greater is nearer."""

    item_id: Id
    score: float


class Interest(msgspec.Struct, frozen=True):
    """One cluster of a user's recent actions: its medoid and its importance."""

    item_id: Id
    importance: float
